"""`dspt export`: a tuned classifier as one file for programs that know nothing of this package."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dspt.cli.options import AsJson
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
        help="A photo to hold the file against torch on, beside made-up ones. Can be given more "
        "than once.",
        show_default=False,
    ),
]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="Where to load the backbone from, if not from where it was tuned.",
        show_default=False,
    ),
]


def export(
    model: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, help="A tuned classifier (.safetensors) of dspt tune."
        ),
    ],
    out_file: Annotated[
        Path, typer.Option("--out", help="The file to write.", dir_okay=False)
    ] = Path("predictor.onnx"),
    check: Images = None,
    backbone: BackboneName = None,
    as_json: AsJson = False,
) -> None:
    """Write a tuned classifier as one ONNX file that takes photos and gives probabilities.

    The file is run in ONNX Runtime and held against torch before it is kept.
    """
    with errors_shown():
        told(write_onnx(model, out_file, backbone, check or ()), out_file, as_json)


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
    # Not earlier: they take seconds to import.
    from dspt.backbones import load_backbone
    from dspt.model.onnx import export_onnx

    loaded = load_backbone(backbone or tuned.manifest.config.backbone)
    return export_onnx(tuned, loaded, target, images)


def told(comparison: Comparison, target: Path, as_json: bool) -> None:
    """Say what was written, and how equal it is."""
    size = target.stat().st_size
    if as_json:
        print_json({"file": str(target), "bytes": size, "compared": asdict(comparison)})
        return
    out.print(f"Saved {target} ({size / 2**20:.1f} MiB).", markup=False, soft_wrap=True)
    out.print(f"{comparison}.", markup=False, soft_wrap=True)
