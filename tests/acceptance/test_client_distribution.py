"""The client by itself: installed without torch, it runs README's example against a service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.acceptance.documents import examples, with_few_epochs
from tests.acceptance.photos import COLOURS, photo, photos
from tests.services import clean_environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a virtual environment that holds the client and what it needs."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--quiet"]
    pip += ["--disable-pip-version-check", "install", "--no-compile"]
    constraints = ROOT / "constraints.txt"
    subprocess.run([*pip, "-c", constraints, ROOT / "client"], check=True, timeout=280)
    return python


def test_the_client_needs_neither_torch_nor_the_server(python: Path) -> None:
    code = (
        "import importlib.util as u, dspt_client\n"
        "print([n for n in ('torch', 'dspt', 'app', 'worker', 'numpy') if u.find_spec(n)])"
    )
    found = subprocess.run([python, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_example_of_the_readme(python: Path, service: httpx.Client, tmp_path: Path) -> None:
    [example] = [e for e in examples((ROOT / "README.md").read_text("utf-8")) if e.kind == "python"]
    for path, content in photos(*COLOURS, count=6, folder="photos/").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    (tmp_path / "new").mkdir()
    for number, name in enumerate(sorted(COLOURS), 1):
        (tmp_path / "new" / f"unseen-{number:02}.jpg").write_bytes(photo(name, 200, "JPEG"))
    ran = subprocess.run(
        [python, "-c", with_few_epochs(example.text)],
        cwd=tmp_path,
        env=clean_environment(DSPT_URL=str(service.base_url).rstrip("/")),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("succeeded ")
    assert "unseen-01.jpg apple" in ran.stdout
