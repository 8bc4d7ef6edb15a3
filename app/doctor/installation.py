"""Packages, processors and weights of this machine."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, metadata, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from app.doctor.findings import Finding, State
from dspt.backbones import list_backbones
from dspt.errors import BackboneError
from dspt.kit.cpus import available_cpus, set_thread_defaults

_PART = "installation"
#: Required by the service; the other extras are optional.
_NEEDED = ("", "server")
_MOUNT = "mount it on this machine, or remove it from DSPT_LOCAL_BACKBONES"
_DOWNLOAD_AGAIN = "delete its files from the cache of the Hugging Face Hub; they are fetched again"
#: Extras that are required anyway, or only for developing DSPT.
_NOT_FOR_USE = frozenset({*_NEEDED, "benchmarks", "builtin", "demo", "dev"})


def look(local_backbones: list[str], *, full: bool) -> Iterator[Finding]:
    """Check packages, processors and weights; with `full` also torch, which takes long to import.

    local_backbones: the setting of this name.
    """
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(_PART, "dspt", State.OK, f"{version('dspt')}, Python {python}")
    yield from _packages()
    yield _cpus()
    yield from _backbones(local_backbones)
    if not full:
        found = "not imported; dspt doctor --full checks torch, GPUs and that backbones load"
        yield Finding(_PART, "torch", State.OFF, found)
        return
    torch = _torch()
    yield torch
    if torch.state == State.OK:
        yield from _loads(local_backbones)


def _packages() -> Iterator[Finding]:
    wanted = _wanted(requires("dspt") or (), metadata("dspt").get_all("Provides-Extra", ()))
    missing = [fault for extra in _NEEDED for each in wanted[extra] if (fault := _fault(each))]
    count = sum(len(wanted[extra]) for extra in _NEEDED)
    if missing:
        fix = "run make install"
        yield Finding(_PART, "packages", State.FAIL, "; ".join(missing), fix)
    else:
        yield Finding(_PART, "packages", State.OK, f"all {count} required packages")
    for extra in sorted(set(wanted) - _NOT_FOR_USE):
        faults = [fault for each in wanted[extra] if (fault := _fault(each))]
        found = "; ".join(faults) if faults else "installed"
        fix = f"pip install 'dspt[{extra}]' -c constraints.txt" if faults else ""
        yield Finding(_PART, f"extra {extra}", State.OFF if faults else State.OK, found, fix)


def _wanted(texts: Iterable[str], extras: Iterable[str]) -> defaultdict[str, list[Requirement]]:
    """Return the requirements that apply to this Python and system, by extra ("" for none)."""
    wanted = defaultdict[str, list[Requirement]](list)
    for requirement in map(Requirement, texts):
        marker = requirement.marker
        for extra in ("", *extras):
            if marker is None or marker.evaluate({"extra": extra}):
                wanted[extra].append(requirement)
                break
    return wanted


def _fault(requirement: Requirement) -> str:
    """Return what is wrong with a package, or an empty string."""
    try:
        there = distribution(requirement.name).version
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(there, prereleases=True):
        return ""
    return f"{requirement.name} {there} is installed, {requirement.specifier} is required"


def _cpus() -> Finding:
    cpus, all_cpus = available_cpus(), os.cpu_count() or 1
    found = f"{cpus} of {all_cpus} available" if cpus < all_cpus else str(cpus)
    return Finding(_PART, "CPUs", State.OK, found)


def _backbones(local: list[str]) -> Iterator[Finding]:
    infos = list_backbones()
    present = [info.name for info in infos if info.weights == "present"]
    absent = [info.name for info in infos if info.weights != "present"]
    yield Finding(_PART, "backbones", State.OK, f"weights present: {', '.join(present)}")
    if absent:
        fix = "downloaded from the Hugging Face Hub by the first job that uses one"
        if os.environ.get("HF_HUB_OFFLINE"):
            fix = "HF_HUB_OFFLINE is set, so they are not downloaded"
        found = f"weights missing: {', '.join(absent)}"
        yield Finding(_PART, "further backbones", State.OFF, found, fix)
    for name in local:
        place = name.removeprefix("local-dir:") if name.startswith("local-dir:") else ""
        place = place or name.partition("@")[2]
        if place and not Path(place).expanduser().exists():
            yield Finding(_PART, name, State.WARN, f"{place} does not exist", _MOUNT)


def _torch() -> Finding:
    set_thread_defaults()  # read when torch is imported
    try:
        import torch
    except (ImportError, OSError) as error:
        fix = "make install, or pip install torch for this machine"
        return Finding(_PART, "torch", State.FAIL, f"cannot be imported: {error}", fix)
    if torch.cuda.is_available():
        gpus = [
            f"{gpu.name} ({gpu.total_memory / 1024**3:.0f} GiB)"
            for gpu in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        ]
        return Finding(_PART, "torch", State.OK, f"{torch.__version__} on {', '.join(gpus)}")
    built = "" if torch.version.cuda is None else " (no usable GPU)"
    return Finding(_PART, "torch", State.OK, f"{torch.__version__} on the CPU{built}")


def _loads(local: list[str]) -> Iterator[Finding]:
    """Load each backbone whose weights are on this machine, one at a time."""
    from dspt.backbones import load_backbone

    present = [info.name for info in list_backbones() if info.weights == "present"]
    for name in (*present, *local):
        check = f"load {name}"
        try:
            backbone = load_backbone(name)
        except BackboneError as error:
            # A missing one of the operator's is a warning above, and jobs on others still run.
            state, fix = (State.WARN, _MOUNT) if name in local else (State.FAIL, _DOWNLOAD_AGAIN)
            yield Finding(_PART, check, state, error.message, fix)
        else:
            found = f"{backbone.embed_dim} dimensions, {backbone.image_size} pixels"
            yield Finding(_PART, check, State.OK, found)
