"""Imports within app/ run one way: no circles, services below endpoints, app below worker."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from fastapi.routing import APIRoute

import app
from app.routes import ROUTES

ROOT = Path(app.__file__).parent.parent

Graph = dict[str, set[str]]


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Module name -> file, of all of app/."""
    found = {}
    for path in sorted((root / "app").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: Mapping[str, object]) -> Iterator[str]:
    """Names of what a file imports, anywhere in it: also in functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else str(node.module)


@cache
def graph() -> Graph:
    known = modules()
    return {name: set(imported(path, known)) & set(known) - {name} for name, path in known.items()}


def package(module: str) -> str:
    """`app.jobs.lifecycle.lease` -> `app.jobs`; a module directly in app/ is its own."""
    return ".".join(module.split(".")[:2])


def by_package(imports: Graph) -> Graph:
    found: Graph = {}
    for module, targets in imports.items():
        found.setdefault(package(module), set()).update(map(package, targets))
    return {name: targets - {name, "app"} for name, targets in found.items()}


def cycle(imports: Graph) -> list[str] | None:
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return None


def test_no_package_imports_another_in_a_circle() -> None:
    packages = by_package(graph())
    assert {"app.jobs", "app.datasets", "app.models", "app.quotas"} <= packages.keys()
    assert cycle(packages) is None


def test_no_module_imports_another_in_a_circle() -> None:
    # A package's __init__ gathers its modules, so only the modules themselves are compared.
    packages = {name for name, path in modules().items() if path.name == "__init__.py"}
    leaves = {name: found - packages for name, found in graph().items() if name not in packages}
    assert cycle(leaves) is None


def test_kit_and_tables_know_no_feature() -> None:
    packages = by_package(graph())
    assert packages["app.kit"] == set()
    assert packages["app.tables"] == {"app.kit"}


def test_one_module_imports_endpoints() -> None:
    importers = {
        module
        for module, targets in graph().items()
        if any(target.endswith("endpoints") for target in targets)
    }
    assert importers == {"app.routes"}


def test_app_does_not_import_the_worker() -> None:
    known = modules()
    for name, path in known.items():
        assert not any(target.split(".")[0] == "worker" for target in imported(path, known)), (
            f"{name} imports the worker"
        )


def test_the_api_imports_what_not_every_process_needs_only_on_use() -> None:
    late = {
        *("torch", "openvino", "sklearn", "matplotlib"),
        *("alembic", "celery", "httpx", "kombu", "psycopg", "redis", "typer"),
        *("numpy", "PIL", "pi_heif"),
    }
    code = f"import app.main, sys; print(*({late} & sys.modules.keys()))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True)
    assert ran.stdout.split() == []


def test_no_call_is_built_twice() -> None:
    # FastAPI builds a call at its decorator, and again where its router is included.
    assert {type(route) for route in ROUTES} == {APIRoute}


def test_a_circle_is_found(tmp_path: Path) -> None:
    for name, text in {
        "one/a.py": "from app.two import b",
        "two/b.py": "def f():\n    import app.one.a",
    }.items():
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    known = modules(tmp_path)
    imports = {name: set(imported(path, known)) & set(known) for name, path in known.items()}
    assert set(cycle(imports) or ()) == {"app.one.a", "app.two.b"}
    assert set(cycle(by_package(imports)) or ()) == {"app.one", "app.two"}
