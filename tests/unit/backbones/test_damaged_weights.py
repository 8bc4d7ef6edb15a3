"""Missing, damaged, hostile and mistaken weights are refused by name."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from published import CLIP_CFG, VIT, build, write_folder
from safetensors.torch import save_file
from torch import nn

from dspt.backbones import load_backbone
from dspt.errors import BackboneError, WeightsUnavailable

pytestmark = pytest.mark.usefixtures("architectures")


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
    with pytest.raises(WeightsUnavailable, match=f"{filename} is damaged") as refused:
        load_backbone(f"local-dir:{folder}")
    assert "weights_only" not in str(refused.value)  # torch's way to run what a file contains


def test_a_pickle_that_runs_code_is_not_opened(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.mkdir, (str(tmp_path / "harm"),)

    file = tmp_path / "model.pt"
    torch.save({"weight": Harm()}, file)
    with pytest.raises(WeightsUnavailable, match=r"model\.pt contains Python .*\.mkdir\)"):
        load_backbone(f"Test-ViT@{file}")
    assert not (tmp_path / "harm").exists()


def test_a_whole_model_is_refused_with_how_to_save_its_weights(tmp_path: Path) -> None:
    file = tmp_path / "whole.pt"
    torch.save(build(CLIP_CFG), file)
    with pytest.raises(WeightsUnavailable) as refused:
        load_backbone(f"Test-ViT@{file}")
    assert str(refused.value) == (
        f"{file} contains Python objects (open_clip.model.CLIP), which can run any code, and is "
        "not opened. Save the weights alone: torch.save(model.state_dict(), FILE)"
    )


@pytest.mark.filterwarnings("ignore:.*TorchScript", "ignore:.*torch.jit")
def test_a_torchscript_archive_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "ViT-B-16.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    with pytest.raises(WeightsUnavailable, match="TorchScript archive, which can run any code"):
        load_backbone(f"Test-ViT@{file}")


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    other = copy.deepcopy(CLIP_CFG) | {"embed_dim": 16}
    folder = write_folder(tmp_path, CLIP_CFG, build(other))
    with pytest.raises(WeightsUnavailable, match="does not contain the weights of local-dir"):
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
    with pytest.raises(BackboneError, match="must be a file of weights"):
        load_backbone(f"Test-ViT@{tmp_path / 'model.onnx'}")
