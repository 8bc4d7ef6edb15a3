"""Checkpoints in the published formats: written here from random weights, loaded, compared."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest
import torch
from published import (
    CLIP_CFG,
    SMALL,
    TEXT,
    TEXTS,
    assert_same,
    build,
    encode,
    picture,
    small_config,
    write_folder,
    write_tokenizer,
)
from safetensors.torch import save_file

from dspt.backbones import load_backbone
from dspt.errors import BackboneError

pytestmark = pytest.mark.usefixtures("architectures")


@pytest.mark.parametrize("name", list(SMALL))
def test_each_family_loads_from_a_folder(name: str, tmp_path: Path) -> None:
    cfg = small_config(name)
    model = build(cfg)
    folder = write_folder(tmp_path / "model", cfg, model)
    if "SigLIP" in name:
        write_tokenizer(folder)
    state = torch.get_rng_state()
    backbone = load_backbone(f"local-dir:{folder}")
    assert torch.equal(torch.get_rng_state(), state)  # no weights are drawn: that takes seconds
    assert_same(backbone, model)
    assert backbone.name == f"local-dir:{folder}"
    assert backbone.activation == ("quickgelu" if "quickgelu" in name else "gelu")
    assert backbone.embed_dim == cfg["embed_dim"]
    # a ResNet's pool sees 32 times the width of its first layer; timm's towers are as they are
    widths = {"ViT": 32, "RN5": 256, "RN1": 256}
    timm = "timm_model_name" in cfg["vision_cfg"]
    assert backbone.penultimate_dim == (0 if timm else widths[name[:3]])
    assert backbone.image_size == cfg["vision_cfg"]["image_size"]
    assert backbone.logit_scale == pytest.approx(model.logit_scale.detach().exp().item())
    towers = [*backbone.image_tower.parameters()]
    assert not any(p.requires_grad for p in towers)
    assert not backbone.image_tower.training


def test_the_librarys_own_loader_agrees(tmp_path: Path) -> None:
    cfg = CLIP_CFG | {"quick_gelu": True}
    preprocess = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4], "resize_mode": "squash"}
    folder = write_folder(tmp_path, cfg, build(cfg), preprocess=preprocess)
    theirs, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    backbone = load_backbone(f"local-dir:{folder}")
    assert_same(backbone, theirs.eval())
    torch.testing.assert_close(backbone.preprocess(picture()), transform(picture()))


def test_siglip_is_padded_with_its_tokenizers_pad_id(tmp_path: Path) -> None:
    cfg = small_config("ViT-B-16-SigLIP")
    folder = write_folder(tmp_path, cfg, build(cfg))
    write_tokenizer(folder)
    tower = load_backbone(f"local-dir:{folder}").text_tower
    assert not tower.causal
    assert tower.pad([2, 5, 1]) == [2, 5, 1] + [1] * 61


@pytest.mark.parametrize("filename", ["own.safetensors", "own.pt", "own.bin"])
def test_weights_of_ones_own_load_from_a_file(filename: str, tmp_path: Path) -> None:
    model = build(CLIP_CFG)
    folder = write_folder(tmp_path, CLIP_CFG, model, filename=filename)
    backbone = load_backbone(f"Test-ViT@{folder / filename}")
    assert_same(backbone, model)
    assert backbone.activation == "gelu"
    assert backbone.digest == load_backbone(f"local-dir:{folder}").digest


@pytest.mark.parametrize("filename", ["openai.pt", "openai.safetensors"])
@pytest.mark.parametrize("architecture", ["Test-ViT", "Test-ViT-quickgelu"])
def test_openais_state_dict_is_quickgelu_whatever_it_is_called(
    architecture: str, filename: str, tmp_path: Path
) -> None:
    model = build(CLIP_CFG | {"quick_gelu": True}).half().float()
    state = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    for key, value in {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}.items():
        state[key] = torch.tensor(value)
    file = tmp_path / filename
    if file.suffix == ".pt":
        torch.save(state, file)
    else:
        save_file(state, file)
    backbone = load_backbone(f"{architecture}@{file}")
    assert backbone.activation == "quickgelu"
    assert_same(backbone, model)


def test_the_activation_matters(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, CLIP_CFG, build(CLIP_CFG))
    file = folder / "open_clip_model.safetensors"
    (folder / "open_clip_config.json").unlink()
    plain, quick = load_backbone(f"Test-ViT@{file}"), load_backbone(f"Test-ViT-quickgelu@{file}")
    assert plain.digest != quick.digest
    assert not torch.allclose(encode(plain, TEXTS)[0], encode(quick, TEXTS)[0], atol=1e-4)


@pytest.mark.parametrize("quick", [True, False])
def test_a_file_whose_config_names_the_other_activation_is_refused(
    quick: bool, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path, CLIP_CFG | {"quick_gelu": quick}, build(CLIP_CFG))
    chosen = "Test-ViT" if quick else "Test-ViT-quickgelu"
    trained = "QuickGELU" if quick else "GELU"
    with pytest.raises(BackboneError, match=f"were trained with {trained}, but"):
        load_backbone(f"{chosen}@{folder / 'open_clip_model.safetensors'}")


def test_the_digest_tells_weights_and_preprocessing_apart(tmp_path: Path) -> None:
    model = build(CLIP_CFG)
    first = load_backbone(f"local-dir:{write_folder(tmp_path / '1', CLIP_CFG, model)}")
    spelled_out = CLIP_CFG | {
        "quick_gelu": False,
        "custom_text": False,
        "text_cfg": TEXT | {"context_length": 77, "vocab_size": 49408, "mlp_ratio": 4.0},
    }
    again = load_backbone(f"local-dir:{write_folder(tmp_path / '2', spelled_out, model)}")
    squashed = write_folder(tmp_path / "3", CLIP_CFG, model, preprocess={"resize_mode": "squash"})
    with torch.no_grad():
        model.text_projection[3, 5] += 1e-3
    changed = load_backbone(f"local-dir:{write_folder(tmp_path / '4', CLIP_CFG, model)}")
    assert len(first.digest) == 64
    assert again.digest == first.digest
    assert load_backbone(f"local-dir:{squashed}").digest != first.digest
    assert changed.digest != first.digest
