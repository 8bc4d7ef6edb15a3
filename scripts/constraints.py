"""Print `name==version` of everything installed that dspt[dev] needs, directly or not.

    .venv/bin/pip install --upgrade --upgrade-strategy eager -e '.[dev]'
    make test && make constraints

moves to the newest versions. The CUDA libraries are left out: torch asks for its own versions of
them, and its builds for the CPU need none.
"""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_LEFT_TO_TORCH = re.compile(r"(nvidia|cuda)-|triton$")


def versions(requirement: str) -> dict[str, str]:
    """Version of each installed distribution that `requirement` leads to."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(requirement)]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            continue  # optional, or needed on other systems only
        found[name] = installed.version
        for extra in ("", *wanted.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in installed.requires or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    waiting.append(needed)
    return found


def main() -> None:
    print("# Versions that the tests pass with. Written by `make constraints`.")
    pins = [
        f"{name}=={version.split('+')[0]}"
        for name, version in versions("dspt[dev]").items()
        if name not in ("dspt", "dspt-client") and not _LEFT_TO_TORCH.match(name)
    ]
    print("\n".join(sorted(pins)))


if __name__ == "__main__":
    main()
