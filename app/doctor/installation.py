"""Packages, processors and weights of this machine."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires, version

from packaging.requirements import Requirement

from app.doctor.findings import Finding, State
from dspt.errors import BackboneError
from dspt.kit.cpus import available_cpus, set_thread_defaults

_PART = "installation"
#: Required by the service; the other extras are optional.
_NEEDED = ("", "server")
#: Extras that are required anyway, or only for developing DSPT.
_NOT_FOR_USE = frozenset({*_NEEDED, "benchmarks", "builtin", "demo", "dev"})


def look(local_backbones: list[str]) -> Iterator[Finding]:
    """Check packages, processors and weights."""
    python = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Finding(_PART, "dspt", State.OK, f"{version('dspt')}, Python {python}")
    yield from _packages()
    yield from _processors()
    yield from _backbones(local_backbones)


def _packages() -> Iterator[Finding]:
    wanted: dict[str, list[Requirement]] = defaultdict(list)
    for text in requires("dspt") or ():
        requirement = Requirement(text)
        extra = "" if requirement.marker is None else str(requirement.marker).split('"')[1::2][-1]
        wanted[extra].append(requirement)
    missing = [fault for extra in _NEEDED for each in wanted[extra] if (fault := _fault(each))]
    count = sum(len(wanted[extra]) for extra in _NEEDED)
    if missing:
        mend = "run make install"
        yield Finding(_PART, "packages", State.FAIL, "; ".join(missing), mend)
    else:
        yield Finding(_PART, "packages", State.OK, f"all {count} required packages")
    for extra in sorted(set(wanted) - _NOT_FOR_USE):
        faults = [fault for each in wanted[extra] if (fault := _fault(each))]
        found = "; ".join(faults) if faults else "installed"
        mend = f"pip install 'dspt[{extra}]' -c constraints.txt" if faults else ""
        yield Finding(_PART, f"extra {extra}", State.OFF if faults else State.OK, found, mend)


def _fault(requirement: Requirement) -> str:
    """Return what is wrong with a package, or an empty string."""
    try:
        there = distribution(requirement.name).version
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if requirement.specifier.contains(there, prereleases=True):
        return ""
    return f"{requirement.name} {there} is installed, {requirement.specifier} is required"


def _processors() -> Iterator[Finding]:
    cpus, all_cpus = available_cpus(), os.cpu_count() or 1
    found = f"{cpus} of {all_cpus} available" if cpus < all_cpus else str(cpus)
    yield Finding(_PART, "CPUs", State.OK, found)
    set_thread_defaults()  # read when torch is imported
    try:
        import torch
    except (ImportError, OSError) as error:
        mend = "make install, or pip install torch for this machine"
        yield Finding(_PART, "torch", State.FAIL, f"cannot be imported: {error}", mend)
        return
    if torch.cuda.is_available():
        gpus = [
            f"{gpu.name} ({gpu.total_memory / 1024**3:.0f} GiB)"
            for gpu in map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
        ]
        yield Finding(_PART, "torch", State.OK, f"{torch.__version__} on {', '.join(gpus)}")
    else:
        built = "" if torch.version.cuda is None else " (no usable GPU)"
        yield Finding(_PART, "torch", State.OK, f"{torch.__version__} on the CPU{built}")


def _backbones(local: list[str]) -> Iterator[Finding]:
    from dspt.backbones import list_backbones
    from dspt.backbones.sources import resolve

    infos = list_backbones()
    present = [info.name for info in infos if info.weights == "present"]
    absent = [info.name for info in infos if info.weights != "present"]
    yield Finding(_PART, "backbones", State.OK, f"weights present: {', '.join(present)}")
    if absent:
        mend = "downloaded from the Hugging Face Hub by the first job that uses one"
        if os.environ.get("HF_HUB_OFFLINE"):
            mend = "HF_HUB_OFFLINE is set, so they are not downloaded"
        found = f"weights missing: {', '.join(absent)}"
        yield Finding(_PART, "further backbones", State.OFF, found, mend)
    for name in local:
        try:
            resolve(name)
        except BackboneError as error:
            mend = "mount it on this machine, or remove it from DSPT_LOCAL_BACKBONES"
            yield Finding(_PART, name, State.WARN, error.message, mend)
