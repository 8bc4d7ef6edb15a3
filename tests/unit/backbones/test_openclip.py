"""Checkpoints in the published formats: written here from random weights, loaded, compared."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.model import CLIP, CustomTextCLIP
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn

from dspt.backbones import Backbone, hub, list_backbones, load_backbone
from dspt.backbones.catalog import CATALOG
from dspt.backbones.sources import resolve
from dspt.errors import BackboneError, UnknownBackbone, WeightsUnavailable

VIT = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}
TEXT = {"width": 32, "heads": 2, "layers": 2}
CLIP_CFG = {"embed_dim": 24, "vision_cfg": VIT, "text_cfg": TEXT | {"context_length": 77}}
TEXTS = ["a photo of a dog.", "a photo of a red double-decker bus."]
SMALL = {
    "ViT-B-32": VIT,
    "ViT-B-16-quickgelu": VIT,
    "ViT-L-14": VIT | {"patch_size": 8},
    "RN50-quickgelu": RESNET,
    "RN101": RESNET | {"layers": [1, 1, 2, 1]},
    "MobileCLIP-S2": {"timm_model_name": "fastvit_t8", "image_size": 64},
    "MobileCLIP-B": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224},
    "ViT-B-16-SigLIP": {"timm_model_name": "vit_tiny_patch16_224", "image_size": 224},
}


def small_config(name: str) -> dict[str, Any]:
    """The published config with the towers cut down; nothing else is changed."""
    cfg: dict[str, Any] = copy.deepcopy(open_clip.get_model_config(name))
    cfg["vision_cfg"] |= SMALL[name]
    cfg["text_cfg"] |= TEXT
    if name == "ViT-B-16-SigLIP":
        cfg["embed_dim"] = 192
        cfg["text_cfg"]["vocab_size"] = 40
    return cfg


def build(cfg: dict[str, Any]) -> Any:
    torch.manual_seed(11)
    cfg = copy.deepcopy(cfg)
    kind = CustomTextCLIP if cfg.pop("custom_text", False) else CLIP
    model: nn.Module = kind(**cfg).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def write_folder(
    folder: Path,
    cfg: dict[str, Any],
    model: nn.Module,
    *,
    preprocess: dict[str, Any] | None = None,
    filename: str = "open_clip_model.safetensors",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": cfg, "preprocess_cfg": preprocess or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    if filename.endswith(".safetensors"):
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / filename)
    else:
        torch.save(model.state_dict(), folder / filename)
    return folder


def write_tokenizer(folder: Path) -> None:
    words = ["<unk>", "</s>", "a", "photo", "of", "dog", "red", "bus", "double", "decker"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"pad_token": "</s>"}')


def encode(backbone: Backbone, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Text embeddings through the backbone alone, and the padded ids that went in."""
    tokenizer, tower = backbone.tokenizer, backbone.text_tower
    prompts = [[*tokenizer.start, *tokenizer.encode(t), *tokenizer.end] for t in texts]
    end = torch.tensor([len(p) - 1 for p in prompts])
    prompts = [tower.pad(p) for p in prompts]
    longest = max(len(p) for p in prompts)
    ids = torch.tensor([p + [0] * (longest - len(p)) for p in prompts])
    return tower.encode(tower.embed(ids), end), ids


def assert_same(backbone: Backbone, model: Any) -> None:
    """Text and image embeddings of the backbone are those of the library's model."""
    ours, ids = encode(backbone, TEXTS)
    full = torch.zeros(len(TEXTS), backbone.text_tower.context_length, dtype=torch.long)
    full[:, : ids.shape[1]] = ids
    theirs = model.encode_text(full).detach()
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-5
    pixels = torch.stack([backbone.preprocess(picture())] * 2)
    theirs = model.encode_image(pixels, normalize=True)
    torch.testing.assert_close(backbone.encode_image(pixels), theirs, rtol=1e-5, atol=1e-6)


def picture(height: int = 50, width: int = 70) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module", autouse=True)
def test_architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Two architectures small enough to write: Test-ViT and its QuickGELU form."""
    folder = tmp_path_factory.mktemp("architectures")
    (folder / "Test-ViT.json").write_text(json.dumps(CLIP_CFG))
    (folder / "Test-ViT-quickgelu.json").write_text(json.dumps(CLIP_CFG | {"quick_gelu": True}))
    open_clip.add_model_config(folder)


# --- every family through `local-dir:`


@pytest.mark.parametrize("name", list(SMALL))
def test_each_family_loads_from_a_folder(name: str, tmp_path: Path) -> None:
    cfg = small_config(name)
    model = build(cfg)
    folder = write_folder(tmp_path / "model", cfg, model)
    if "SigLIP" in name:
        write_tokenizer(folder)
    backbone = load_backbone(f"local-dir:{folder}")
    assert_same(backbone, model)
    assert backbone.name == f"local-dir:{folder}"
    assert backbone.activation == ("quickgelu" if "quickgelu" in name else "gelu")
    assert backbone.embed_dim == cfg["embed_dim"]
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


# --- files


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


# --- damaged and mistaken input


def test_a_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"nothing\.safetensors is not a file"):
        load_backbone(f"Test-ViT@{tmp_path / 'nothing.safetensors'}")
    with pytest.raises(WeightsUnavailable, match="nowhere is not a folder"):
        load_backbone(f"local-dir:{tmp_path / 'nowhere'}")
    with pytest.raises(WeightsUnavailable, match=r"has no open_clip_config\.json"):
        load_backbone(f"local-dir:{tmp_path}")


def test_a_folder_without_clear_weights_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, CLIP_CFG, build(CLIP_CFG), filename="one.safetensors")
    assert load_backbone(f"local-dir:{folder}").embed_dim == 24
    (folder / "two.safetensors").write_bytes((folder / "one.safetensors").read_bytes())
    with pytest.raises(WeightsUnavailable, match="2 files of weights"):
        load_backbone(f"local-dir:{folder}")


@pytest.mark.parametrize("filename", ["open_clip_model.safetensors", "model.pth"])
@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"PK\x03\x04 not a checkpoint", b"text"])
def test_a_damaged_file_is_named(filename: str, content: bytes, tmp_path: Path) -> None:
    folder = write_folder(tmp_path, CLIP_CFG, build(CLIP_CFG), filename=filename)
    (folder / filename).write_bytes(content)
    with pytest.raises(WeightsUnavailable, match=f"{filename} is damaged"):
        load_backbone(f"local-dir:{folder}")


def test_a_pickle_that_runs_code_is_not_opened(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    file = tmp_path / "model.pt"
    torch.save({"weight": Harm()}, file)
    with pytest.raises(WeightsUnavailable, match=r"model\.pt is damaged"):
        load_backbone(f"Test-ViT@{file}")
    assert not (tmp_path / "harm").exists()


@pytest.mark.filterwarnings("ignore:.*TorchScript", "ignore:.*torch.jit")
def test_a_torchscript_archive_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "ViT-B-16.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    with pytest.raises(WeightsUnavailable, match="TorchScript archive, which can run any code"):
        load_backbone(f"Test-ViT@{file}")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    other = copy.deepcopy(CLIP_CFG) | {"embed_dim": 16}
    folder = write_folder(tmp_path, CLIP_CFG, build(other))
    with pytest.raises(WeightsUnavailable, match="does not hold the weights of local-dir"):
        load_backbone(f"local-dir:{folder}")


def test_siglip_weights_for_a_model_without_bias_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, CLIP_CFG, build(CLIP_CFG | {"init_logit_bias": -10}))
    with pytest.raises(WeightsUnavailable, match="it has a logit_bias"):
        load_backbone(f"local-dir:{folder}")


def test_a_missing_tensor_is_refused(tmp_path: Path) -> None:
    model = build(CLIP_CFG)
    folder = write_folder(tmp_path, CLIP_CFG, model)
    state = {k: v.contiguous() for k, v in model.state_dict().items() if k != "visual.proj"}
    save_file(state, folder / "open_clip_model.safetensors")
    with pytest.raises(WeightsUnavailable, match=r"visual\.proj"):
        load_backbone(f"local-dir:{folder}")


@pytest.mark.parametrize("config", ["{", "[]", '{"model_cfg": {"embed_dim": 8}}'])
def test_a_damaged_config_is_named(config: str, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(config)
    with pytest.raises(BackboneError, match=r"open_clip_config\.json"):
        load_backbone(f"local-dir:{tmp_path}")


def test_a_config_that_open_clip_cannot_build_is_refused(tmp_path: Path) -> None:
    cfg = CLIP_CFG | {"vision_cfg": VIT | {"wings": 2}}
    folder = write_folder(tmp_path, cfg, build(CLIP_CFG))
    with pytest.raises(BackboneError, match=r"cannot build .*wings"):
        load_backbone(f"local-dir:{folder}")


def test_other_kinds_of_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(BackboneError, match="not a kind of weights"):
        load_backbone(f"Test-ViT@{tmp_path / 'model.onnx'}")


# --- names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ViT-B-16", "ViT-B-16/TAG with TAG one of openai, "),
        ("ViT-B/16", "ViT-B-16/TAG with TAG one of openai, "),
        ("ViT-S-16", "ViT-S-16@/path/to/weights"),
        ("vit-b16/openai", "did you mean .*ViT-B-16"),
        ("ViT-B-16/opnai", "did you mean ViT-B-16/openai"),
        ("ViT-B-16/zzz", "There are openai, "),
        ("ViT-S-16/openai", "publishes no weights for ViT-S-16"),
        ("ViT-B-32-quickgelu/laion2b_s34b_b79k", "trained with GELU.*use ViT-B-32/laion2b"),
        ("bultin", "A backbone is `builtin`"),
        ("", "there is no backbone"),
        ("/", "there is no backbone"),
    ],
)
def test_unknown_names_say_what_to_write(name: str, message: str) -> None:
    with pytest.raises(UnknownBackbone, match=message):
        load_backbone(name)


@pytest.mark.parametrize("name", ["ViT-B-16/openai", "ViT-B/16/openai"])
def test_slashes_as_in_the_papers(name: str) -> None:
    assert resolve(name).repo == "timm/vit_base_patch16_clip_224.openai"


@pytest.mark.parametrize(
    ("name", "quick"),
    [
        ("ViT-B-16/openai", True),
        ("ViT-B-16-quickgelu/openai", True),
        ("RN50/openai", True),
        ("RN50/cc12m", True),
        ("ViT-B-32/laion400m_e32", True),
        ("ViT-B-16/laion400m_e32", False),
        ("ViT-B-16/metaclip_400m", True),
        ("ViT-B-16/dfn2b", True),
        ("ViT-H-14-378-quickgelu/dfn5b", True),
        ("ViT-B-32/laion2b_s34b_b79k", False),
        ("MobileCLIP-S2/datacompdr", False),
        ("ViT-B-16-SigLIP/webli", False),
    ],
)
def test_the_activation_is_the_weights(name: str, quick: bool) -> None:
    assert resolve(name).quick_gelu is quick


def test_every_published_tag_resolves_to_its_own_activation_or_is_refused() -> None:
    refused = set()
    for architecture, tag in open_clip.list_pretrained():
        try:
            source = resolve(f"{architecture}/{tag}")
        except BackboneError:
            refused.add(architecture)
            continue
        published = open_clip.get_pretrained_cfg(architecture, tag)
        assert source.quick_gelu is bool(published.get("quick_gelu"))
        assert source.preprocess["mean"] == published["mean"]
        assert source.repo
    assert refused == {
        "coca_ViT-B-32",
        "coca_ViT-L-14",
        "nllb-clip-base",
        "nllb-clip-base-siglip",
        "nllb-clip-large",
        "nllb-clip-large-siglip",
        "roberta-ViT-B-32",
        "xlm-roberta-base-ViT-B-32",
        "xlm-roberta-large-ViT-H-14",
    }


def test_models_whose_prompt_cannot_be_tuned_are_refused_before_any_download() -> None:
    with pytest.raises(BackboneError, match="Hugging Face text encoder"):
        load_backbone("roberta-ViT-B-32/laion2b_s12b_b32k")
    with pytest.raises(BackboneError, match="CoCa"):
        load_backbone("coca_ViT-B-32/laion2b_s13b_b90k")


# --- the hub, offline


OVERRIDDEN = """
import json, sys, time
import open_clip
open_clip.add_model_config(sys.argv[1])
from dspt.backbones import hub, list_backbones, load_backbone
hub.CONNECT_SECONDS = 2.0
from dspt.errors import DsptError
out = {"present": [b.name for b in list_backbones() if b.weights == "present"]}
for name in sys.argv[2:]:
    start = time.monotonic()
    try:
        b = load_backbone(name)
        out[name] = {"digest": b.digest, "activation": b.activation}
    except DsptError as e:
        out[name] = {"error": type(e).__name__, "message": e.message, "param": e.param}
    out[name]["seconds"] = time.monotonic() - start
print(json.dumps(out))
"""


def in_fresh_process(configs: Path, env: dict[str, str], *names: str) -> dict[str, Any]:
    """Load `names` in a process of its own: the hub's client reads its settings on import."""
    done = subprocess.run(
        [sys.executable, "-c", OVERRIDDEN, str(configs), *names],
        env={k: v for k, v in os.environ.items() if not k.startswith("HF_")} | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def cache_in(hub_cache: Path, repo: str, files: dict[str, Path]) -> None:
    """Lay files out as the hub's client does: blobs, snapshots, refs."""
    root = hub_cache / f"models--{repo.replace('/', '--')}"
    commit = "0" * 40
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    (root / "blobs").mkdir()
    (root / "snapshots" / commit).mkdir(parents=True)
    for number, (name, path) in enumerate(files.items()):
        blob = root / "blobs" / f"{number:064x}"
        blob.write_bytes(path.read_bytes())
        (root / "snapshots" / commit / name).symlink_to(f"../../blobs/{blob.name}")


def test_tags_load_from_the_hubs_cache_without_a_network(tmp_path: Path) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "ViT-B-16.json").write_text(json.dumps(CLIP_CFG))
    siglip = small_config("ViT-B-16-SigLIP")
    (configs / "ViT-B-16-SigLIP.json").write_text(json.dumps(siglip))
    quick = CLIP_CFG | {"quick_gelu": True}
    openai = write_folder(tmp_path / "openai", quick, build(quick))
    webli = write_folder(
        tmp_path / "webli", siglip, build(siglip), filename="open_clip_pytorch_model.bin"
    )
    write_tokenizer(webli)
    weights = openai / "open_clip_model.safetensors"
    cache_in(tmp_path / "hub", "timm/vit_base_patch16_clip_224.openai", {weights.name: weights})
    cache_in(
        tmp_path / "hub",
        "timm/ViT-B-16-SigLIP",
        {f.name: f for f in webli.iterdir() if f.name != "open_clip_config.json"},
    )
    found = in_fresh_process(
        configs,
        {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        "ViT-B-16/openai",
        f"ViT-B-16/openai@{weights}",
        f"local-dir:{openai}",
        "ViT-B-16-SigLIP/webli",
        "ViT-L-14/openai",
    )
    digests = {found[name]["digest"] for name in list(found)[1:4]}
    assert digests == {load_backbone(f"local-dir:{openai}").digest}
    assert found["ViT-B-16/openai"]["activation"] == "quickgelu"
    assert "digest" in found["ViT-B-16-SigLIP/webli"]
    assert found["present"] == ["builtin", "ViT-B-16/openai", "ViT-B-16-SigLIP/webli"]
    missing = found["ViT-L-14/openai"]
    assert missing["error"] == "WeightsUnavailable"
    assert missing["param"] == "backbone"
    for mend in (
        "HF_HUB_OFFLINE is set",
        "hf download timm/vit_large_patch14_clip_224.openai",
        str(tmp_path / "hub"),
        "HF_HOME",
        "local-dir:",
        "builtin",
    ):
        assert mend in missing["message"]


def test_an_unreachable_hub_is_said_within_seconds(tmp_path: Path) -> None:
    found = in_fresh_process(
        tmp_path,
        {"HF_HOME": str(tmp_path / "empty"), "HF_ENDPOINT": "http://127.0.0.1:1"},
        "ViT-B-16/openai",
        "ViT-B-16-SigLIP/webli",
    )
    for name in ("ViT-B-16/openai", "ViT-B-16-SigLIP/webli"):
        assert found[name]["error"] == "WeightsUnavailable"
        assert "http://127.0.0.1:1 does not give it" in found[name]["message"]
        assert found[name]["seconds"] < 20
    assert found["present"] == ["builtin"]


class FakeHub(BaseHTTPRequestHandler):
    """Answers as the hub does: a pickle without safetensors, a gated repository, and silence."""

    weights = b""
    over = threading.Event()

    def do_HEAD(self) -> None:
        self.answer(send=False)

    def do_GET(self) -> None:
        self.answer(send=True)

    def answer(self, *, send: bool) -> None:
        if "patch32" in self.path:
            self.over.wait(60)
            self.close_connection = True
        elif "resnet50" in self.path:
            self.reply(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "sign the licence"})
        elif not self.path.endswith("open_clip_pytorch_model.bin"):
            self.reply(404, {"X-Error-Code": "EntryNotFound"})
        else:
            self.reply(200, {"X-Repo-Commit": "1" * 40, "ETag": '"abc"'}, self.weights, send)

    def reply(
        self, status: int, headers: dict[str, str], body: bytes = b"", send: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if send:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the terminal."""


@contextmanager
def fake_hub(weights: bytes) -> Iterator[str]:
    FakeHub.weights = weights
    FakeHub.over.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), FakeHub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            FakeHub.over.set()
            server.shutdown()
            thread.join()


def test_a_download_and_a_hub_that_refuses_or_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "ViT-B-16.json").write_text(json.dumps(CLIP_CFG))
    quick = CLIP_CFG | {"quick_gelu": True}
    folder = write_folder(
        tmp_path / "model", quick, build(quick), filename="open_clip_pytorch_model.bin"
    )
    cache = tmp_path / "home"
    weights = (folder / "open_clip_pytorch_model.bin").read_bytes()
    with fake_hub(weights) as endpoint:
        found = in_fresh_process(
            configs,
            {"HF_HOME": str(cache), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"},
            "ViT-B-16/openai",
            "RN50/openai",
            "ViT-B-32/openai",
        )
    assert found["ViT-B-16/openai"]["digest"] == load_backbone(f"local-dir:{folder}").digest
    assert "403" in found["RN50/openai"]["message"]
    assert "timed out" in found["ViT-B-32/openai"]["message"]
    assert found["ViT-B-32/openai"]["seconds"] < 10
    for name in ("RN50/openai", "ViT-B-32/openai"):
        assert found[name]["error"] == "WeightsUnavailable"
    # What was downloaded is found again without the hub.
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(hub.constants, "ENDPOINT", "http://127.0.0.1:1")
    file = resolve("ViT-B-16/openai").weights_file()
    assert file.read_bytes() == weights
    present = [b.name for b in list_backbones() if b.weights == "present"]
    assert present == ["builtin", "ViT-B-16/openai"]


# --- the catalogue


def test_the_catalogue_agrees_with_open_clip() -> None:
    for entry in CATALOG:
        architecture, tag = entry.name.split("/")
        cfg = open_clip.get_model_config(architecture)
        published = open_clip.get_pretrained_cfg(architecture, tag)
        assert published["hf_hub"] == f"{entry.repo}/"
        assert cfg["embed_dim"] == entry.embed_dim
        assert cfg["vision_cfg"]["image_size"] == entry.image_size
        tokenizer = cfg["text_cfg"].get("hf_tokenizer_name")
        assert tokenizer == (entry.repo if entry.own_tokenizer else None)


def test_the_list_says_what_to_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    builtin, *others = list_backbones()
    assert (builtin.name, builtin.weights) == ("builtin", "present")
    assert "trying out" in builtin.note
    assert "ViT-B-16/openai" in builtin.note
    assert {b.weights for b in others} == {"download"}
    families = ["ViT-B-16/", "ViT-B-32/", "ViT-L-14/", "RN50/", "RN101/", "MobileCLIP", "SigLIP"]
    assert all(any(f in b.name for b in others) for f in families)
    assert all(b.licence for b in others)
