"""Imports run one way, and importing dspt is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import dspt_client
import pytest

import dspt
import dspt.backbones
import dspt.data
from dspt import errors

ROOT = Path(__file__).parents[2]

ROOMS = [
    "errors",
    "kit",
    "config",
    "backbones",
    "data",
    "features",
    "prompt",
    "labels",
    "classifier",
    "model",
    "report",
    "pipeline",
    "estimator",
    "__init__",
    "cli",
]
"""The modules and packages of dspt/. Each imports only from those above it in this list."""


@cache
def imported_modules(file: Path) -> tuple[str, ...]:
    """Dotted names that `file` imports anywhere, also in functions and for type checking."""
    return tuple(_imported(file))


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{name.name}" for name in node.names)


def arrows(package: str) -> dict[tuple[str, str], set[str]]:
    """(room, room that it imports) -> the files with that import, within `package`."""
    found: dict[tuple[str, str], set[str]] = {}
    for file in sorted((ROOT / package).rglob("*.py")):
        room = file.relative_to(ROOT / package).parts[0].removesuffix(".py")
        for name in imported_modules(file):
            top, *rest = name.split(".")
            target = rest[0] if rest else "__init__"
            if top != package or target == room:
                continue
            if not is_module(ROOT / package / target):
                target = "__init__"  # a public name: `from dspt import tune`
            found.setdefault((room, target), set()).add(str(file.relative_to(ROOT)))
    return found


def is_module(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_every_room_of_dspt_is_in_the_list() -> None:
    names = {path.name.removesuffix(".py") for path in (ROOT / "dspt").iterdir()}
    assert names - {"__pycache__", "py.typed"} == set(ROOMS)


def test_rooms_of_dspt_import_upwards_only() -> None:
    wrong = {
        f"{room} -> {target}": files
        for (room, target), files in arrows("dspt").items()
        if ROOMS.index(target) > ROOMS.index(room)
    }
    # dspt/__init__.py names everything public, lazily
    assert {arrow for arrow in wrong if not arrow.startswith("__init__")} == set(), wrong


def test_there_is_no_circle_between_the_rooms_of_dspt() -> None:
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for room, target in arrows("dspt"):
        sorter.add(room, target)
    sorter.prepare()  # raises CycleError


@pytest.mark.parametrize(
    ("package", "forbidden"), [("dspt", {"app", "worker"}), ("app", {"worker"})]
)
def test_packages_import_one_way(package: str, forbidden: set[str]) -> None:
    wrong = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / package).rglob("*.py")
        for name in imported_modules(file)
        if name.split(".")[0] in forbidden
    }
    assert wrong == set()


def test_importing_dspt_does_not_import_torch() -> None:
    code = "import dspt, sys; print({'torch', 'numpy', 'PIL', 'sklearn'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


LAZY = [dspt, dspt.backbones, dspt.data, dspt_client]
"""The packages that load their public names when these are first used."""


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
def test_every_public_name_is_there(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'open_dataset'"):
        package.open_dataset  # noqa: B018


def test_a_type_checker_sees_no_getattr_which_would_allow_every_name() -> None:
    for package in ("dspt", "app", "worker", "client"):
        for file in (ROOT / package).rglob("__init__.py"):
            body = ast.parse(file.read_text(encoding="utf-8")).body
            functions = {each.name for each in body if isinstance(each, ast.FunctionDef)}
            assert "__getattr__" not in functions, file


def test_the_version_is_that_of_the_distribution() -> None:
    assert dspt.__version__ == version("dspt")


def test_all_errors_are_public() -> None:
    kinds = {k.__name__ for k in vars(errors).values() if isinstance(k, type)}
    assert kinds - {"Problem", "Sequence", "ClassVar"} <= set(dspt.__all__)
