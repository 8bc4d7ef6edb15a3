"""`digests.py FILE...`: pin the images in compose files and Dockerfiles to their current digests.

`docker buildx imagetools` asks the registry. An image keeps its tag: NAME:TAG@sha256:...
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_IMAGE = re.compile(
    r"^(\s*(?:image:|FROM)\s+)([a-z0-9./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?", re.M
)


def digest(image: str) -> str:
    """Return the digest of an image's current manifest. Raises CalledProcessError."""
    command = ["docker", "buildx", "imagetools", "inspect", image]
    command += ["--format", "{{.Manifest.Digest}}"]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", found):
        raise ValueError(f"{image}: docker printed {found!r}, which is not a digest")
    return found


def pinned(match: re.Match[str]) -> str:
    """Return the line with the digest; images that are built here (dspt-...) stay as they are."""
    before, image = match[1], match[2]
    return match[0] if image.startswith("dspt-") else f"{before}{image}@{digest(image)}"


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(_IMAGE.sub(pinned, path.read_text()))
