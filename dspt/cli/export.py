"""`dspt export`: write a tuned classifier as one ONNX file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspt.cli.options import AsJson, BackboneName, TunedFile
from dspt.cli.terminal import check_writable, errors_shown, out, print_json
from dspt.errors import ImageError
from dspt.kit.cpus import set_thread_defaults

if TYPE_CHECKING:
    from dspt.model.onnx.check import Comparison

Images = Annotated[
    list[Path] | None,
    typer.Option(
        "--check",
        exists=True,
        dir_okay=False,
        help="Photo on which to compare the file with torch, in addition to generated images. "
        "Repeatable.",
        show_default=False,
    ),
]


def export(
    model: TunedFile,
    out_file: Annotated[Path, typer.Option("--out", help="File to write.", dir_okay=False)] = Path(
        "predictor.onnx"
    ),
    check: Images = None,
    backbone: BackboneName = None,
    as_json: AsJson = False,
) -> None:
    """Write a tuned classifier as one ONNX file from photos to probabilities.

    Before it is saved, the file is run in ONNX Runtime and compared with torch.
    """
    with errors_shown():
        print_export(write_onnx(model, out_file, backbone, check or ()), out_file, as_json)


def write_onnx(
    artifact: Path, target: Path, backbone: str | None, check: list[Path] | tuple[()]
) -> Comparison:
    """Export the tuned classifier in the file `artifact`. Raises DsptError."""
    check_writable(target)
    set_thread_defaults()
    from dspt.data import decode_image
    from dspt.model.artifact import load_model

    tuned = load_model(artifact)
    images = []
    for path in check:
        try:
            images.append(decode_image(path.read_bytes()))
        except (OSError, ImageError) as error:
            raise ImageError(f"{path}: {error}", param=str(path)) from error
    # Imported here because they take seconds to import.
    from dspt.backbones import load_backbone
    from dspt.model.onnx import export_onnx

    loaded = load_backbone(backbone or tuned.manifest.config.backbone)
    return export_onnx(tuned, loaded, target, images)


def print_export(comparison: Comparison, target: Path, as_json: bool) -> None:
    """Print the path and size of the file, and how its answers compare with torch."""
    size = target.stat().st_size
    if as_json:
        print_json({"file": str(target), "bytes": size, "compared": asdict(comparison)})
        return
    out.print(f"Saved {target} ({size / 2**20:.1f} MiB).", markup=False, soft_wrap=True)
    out.print(f"{comparison}.", markup=False, soft_wrap=True)
