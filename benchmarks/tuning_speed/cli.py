"""`python -m benchmarks.tuning_speed`."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.skeleton.options import add_results, new_parser, positive, positive_number
from benchmarks.skeleton.program import Benchmark, Document, grid_progress, run

NAME = "tuning_speed"
STEPS = {20: 5, 200: 3}
"""Number of classes -> steps to measure up to it; one step beyond."""
GROWTH = (100, 200, 400, 1000)
_DESCRIPTION = """\
Time and memory of prompt tuning on this machine: the plain trainer, as in CoOp and NLPrompt, and
this project's, in one run. Needs no data and no download: the weights are random (they do not
affect the speed) and the photos generated. Takes about ten minutes on 2 CPUs."""


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    packages = ("torch", "open_clip_torch", "numpy")
    return run(Benchmark(NAME, new_options(), _measure, _markdown, packages=packages), arguments)


def steps_for(classes: int, wanted: int | None) -> int:
    """Return how many steps to measure."""
    if wanted is not None:
        return wanted
    return next((steps for most, steps in STEPS.items() if classes <= most), 1)


def _markdown(document: Document) -> str:
    from benchmarks.tuning_speed.report import markdown

    return markdown(document)


def _measure(options: argparse.Namespace, document: Document, console: Console) -> None:
    import torch

    from benchmarks.skeleton.machine import torch_machine
    from benchmarks.tuning_speed import measure, setup
    from dspt.kit.device import resolve_device, tuning_dtype

    if options.quick:
        options.classes, options.steps = [10], 2
    device = resolve_device(options.device)
    both = options.precision == "both" and tuning_dtype("auto", device) is not None
    cuda = device.type == "cuda"
    free = torch.cuda.mem_get_info(device)[0] if cuda else _available_memory()
    document["machine"] |= torch_machine(device.type)
    document["settings"] = {
        **{name: getattr(options, name) for name in ("n_ctx", "seed", "lr")},
        "device": device.type,
        "batch": setup.BATCH,
        "shots": setup.SHOTS,
        "epochs": setup.EPOCHS,
        "photos": setup.PHOTOS,
    }
    timings = document["timings"] = {}
    document["growth"] = []
    with (
        tempfile.TemporaryDirectory(prefix="dspt-tuning-speed-") as folder,
        grid_progress(console) as bar,
    ):
        setup.write_photos(Path(folder), options.seed)
        settings = measure.Settings(
            device=device.type,
            photos=Path(folder),
            n_ctx=options.n_ctx,
            seed=options.seed,
            lr=options.lr,
            memory=free // 2,
            precisions=("float32", "bfloat16") if both else ("float32",),
        )
        cases = [(name, classes) for name in options.backbones for classes in options.classes]
        task = bar.add_task("", total=len(cases) + (not options.quick))
        for backbone, classes in cases:

            def on_progress(what: str, case: str = f"{backbone}, {classes} classes") -> None:
                bar.update(task, description=f"{case}: {what}")

            steps = steps_for(classes, options.steps)
            found = measure.measure_case(settings, backbone, classes, steps, on_progress)
            timings.setdefault(backbone, []).extend(timing.document() for timing in found)
            bar.advance(task)
        if not options.quick:
            bar.update(task, description="growth with the number of classes")
            rows = measure.measure_growth(settings, options.backbones[0], list(GROWTH), rounds=3)
            document["growth"] = [row.document() for row in rows]
            bar.advance(task)


def _available_memory() -> int:
    """Return the bytes that new processes may use; all memory if the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    sizes = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}
    return sizes["MemAvailable"] * 1024


def new_options() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    epilog = "Close other programs first: a busy machine distorts all figures."
    parser = new_parser(NAME, _DESCRIPTION, epilog)
    parser.add_argument(
        "--classes",
        type=positive,
        nargs="+",
        default=[10, 100, 1000],
        metavar="N",
        help="numbers of classes (default: 10 100 1000)",
    )
    parser.add_argument(
        "--backbones",
        nargs="+",
        default=["ViT-B-32", "RN50"],
        metavar="NAME",
        help="architectures of open_clip whose class is CLIP (default: ViT-B-32 RN50)",
    )
    parser.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help="steps to measure, after which the contexts are compared (default: 5 up to 20 "
        "classes, 3 up to 200, else 1)",
    )
    parser.add_argument(
        "--n-ctx", type=positive, default=16, metavar="M", help="context vectors (default: 16)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of weights, photos and their order (default: 1)"
    )
    parser.add_argument(
        "--lr", type=positive_number, default=0.002, help="learning rate (default: 0.002, CoOp's)"
    )
    parser.add_argument(
        "--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:N"
    )
    parser.add_argument(
        "--precision",
        choices=["both", "float32"],
        default="both",
        help="both: also bfloat16 if the processor supports it (default); or float32",
    )
    parser.add_argument(
        "--quick", action="store_true", help="10 classes, 2 steps, no growth: a check that it runs"
    )
    add_results(parser)
    return parser
