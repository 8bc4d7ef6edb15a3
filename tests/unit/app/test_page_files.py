"""The built page, as the wheel holds it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "app" / "web" / "static"
#: Kilobytes of script and style that a first visit may load, compressed.
MAX_KB = 70


def test_the_wheel_holds_the_built_page_and_no_sources(tmp_path: Path) -> None:
    build = "import sys, hatchling.build as b; print(b.build_wheel(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    with zipfile.ZipFile(tmp_path / made.stdout.split()[-1]) as wheel:
        web = {name for name in wheel.namelist() if name.startswith("app/web/")}
    assert {f"app/web/static/{path.name}" for path in STATIC.iterdir()} <= web
    assert not [name for name in web if "source" in name or "node_modules" in name]


def test_a_first_visit_is_small_and_asks_no_other_host() -> None:
    names = ("app.js", "app.css")
    assert sum(len(gzip.compress((STATIC / name).read_bytes())) for name in names) <= MAX_KB * 1000
    page = (STATIC / "index.html").read_text()
    assert "http" not in page
    assert "style=" not in page
    assert "<script>" not in page


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((ROOT / "app/web/source/package-lock.json").read_text())
    assert not [name for name, each in lock["packages"].items() if "resolved" in each]


def test_licences_of_what_the_page_contains_are_kept() -> None:
    package = json.loads((ROOT / "app/web/source/package.json").read_text())
    licences = (STATIC / "licences.txt").read_text()
    for name, version in package["dependencies"].items():
        assert f"== {name} {version}" in licences
