"""Run the instructions of a Dockerfile in a Debian root, without a container engine.

Supports FROM, ARG, ENV, WORKDIR, COPY, RUN, USER, EXPOSE and CMD; other instructions raise
ValueError. Needs root, debootstrap and Linux.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

#: Stands in for the official Python image of this name: Debian's own Python 3.11.
PYTHON_IMAGE = "python:3.11-slim-bookworm"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """The result of a stage."""

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    workdir: str = "/"
    user: str = "0:0"
    command: list[str] = field(default_factory=list)


def build(dockerfile: str, context: Path, folder: Path) -> dict[str, Image]:
    """Return the image of every stage. Raises ValueError and CalledProcessError."""
    images: dict[str, Image] = {}
    ignored = (context / ".dockerignore").read_text().split()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    name, arguments = "", dict[str, str]()
    for verb, rest in _instructions(dockerfile):
        if verb == "FROM":
            source, _, name = rest.split()
            base = images.get(source) or Image(_debian(source, folder / "debian"))
            root = folder / name
            # The files of an earlier stage do not change any more: hard links will do.
            _run("cp", "-al" if source in images else "-a", str(base.root), str(root))
            images[name], arguments = replace(base, root=root), {}
            continue
        image = images[name]
        match verb:
            case "ARG":
                key, value = rest.split("=", 1)
                arguments[key] = value.strip('"')
            case "ENV":
                given = dict(word.split("=", 1) for word in shlex.split(rest))
                filled = {k: _expand(v, image.environment) for k, v in given.items()}
                images[name] = replace(image, environment=image.environment | filled)
            case "WORKDIR":
                (image.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
                images[name] = replace(image, workdir=rest)
            case "COPY":
                _copy(rest, image, context, allowed, images)
            case "RUN":
                with_arguments = replace(image, environment=image.environment | arguments)
                subprocess.run(contained(with_arguments, ["sh", "-c", rest]), check=True)
            case "USER":
                images[name] = replace(image, user=rest)
            case "CMD":
                images[name] = replace(image, command=json.loads(rest))
            case "EXPOSE":
                pass
            case _:
                raise ValueError(f"docker/Dockerfile: {verb} is not known here")
    return images


def contained(
    image: Image,
    command: Sequence[str],
    *,
    environment: dict[str, str] | None = None,
    volumes: dict[str, Path] | None = None,
    read_only: bool = False,
    tmpfs: Sequence[str] = (),
) -> list[str]:
    """Return the command line that runs `command` in the image's root, as the image's user.

    It has mounts of its own and no capabilities unless it is root; it shares network and processes
    with the machine. volumes: folders by their places in the image.
    """
    root = shlex.quote(str(image.root))
    steps = [f"mount --bind {root} {root}"]
    if read_only:
        steps.append(f"mount -o remount,bind,ro {root}")
    steps += [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
    for place in tmpfs:
        where, _, options = place.partition(":")
        steps.append(f"mount -t tmpfs -o {options or 'mode=1777'},mode=1777 tmpfs {root}{where}")
    for place, source in sorted((volumes or {}).items()):
        steps.append(f"mount --bind {shlex.quote(str(source))} {root}{place}")
    user, group = image.user.split(":")
    drop = []
    if user != "0":
        drop = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
        drop += ["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
    given = image.environment | (environment or {})
    inner = ["chroot", str(image.root), *drop, "env", "-i", f"--chdir={image.workdir}"]
    inner += [f"{key}={value}" for key, value in given.items()] + list(command)
    script = " && ".join([*steps, f"exec {shlex.join(inner)}"])
    return ["unshare", "--mount", "sh", "-c", script]


def _instructions(dockerfile: str) -> list[tuple[str, str]]:
    lines = [line for line in dockerfile.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    words = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(verb, rest) for verb, rest in words]


def _expand(value: str, environment: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda match: environment[match[1]], value)


def _debian(image: str, root: Path) -> Path:
    """A Debian root with Python, which reaches the package index as this machine does."""
    if image != PYTHON_IMAGE:
        raise ValueError(f"docker/Dockerfile: {image} has no stand-in here")
    if root.exists():
        return root
    include = "python3,python3-venv,ca-certificates"
    _run("debootstrap", "--variant=minbase", f"--include={include}", "bookworm", str(root))
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for name in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copyfile(f"/{name}", root / name)
    return root


def _copy(
    rest: str, image: Image, context: Path, allowed: list[str], images: dict[str, Image]
) -> None:
    words = rest.split()
    source_root = context
    if words[0].startswith("--from="):
        source_root = images[words.pop(0).removeprefix("--from=")].root
    elif missing := [word for word in words[:-1] if word not in allowed]:
        raise ValueError(f".dockerignore leaves out {', '.join(missing)}, which COPY needs")
    *sources, target = words
    into = image.root / os.path.normpath(f"{image.workdir}/{target}").lstrip("/")
    for source in (source_root / source.lstrip("/") for source in sources):
        if source.is_dir():
            into.mkdir(parents=True, exist_ok=True)
            _run("cp", "-al" if source_root != context else "-a", f"{source}/.", str(into))
        elif target.endswith("/") or len(sources) > 1:
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, into)
        else:
            shutil.copy2(source, into)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
