"""Every example of README.md and docs/ runs against a service, and prints what is shown."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.documents import Example, differences, examples, run, with_few_epochs
from tests.acceptance.forked import forked_commands
from tests.acceptance.photos import COLOURS, photo, photos, zipped
from tests.services import clean_environment

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What the documents are written for, with the address that a service has on one's own machine.
ADDRESS = "http://127.0.0.1:8000"
#: A job with the default settings, which tune for longer than a test needs.
DEFAULTS = "-F dataset=@photos.zip http"
FEWER_EPOCHS = """-F dataset=@photos.zip -F config='{"epochs": 50}' http"""


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with forked_commands(tmp_path_factory.mktemp("commands")) as folder:
        yield folder


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """What `make photos` writes, with fewer and smaller photos: some of them filed wrong."""
    classes = sorted(COLOURS)
    files = photos(*classes, count=8, folder="train/")
    for number, name in enumerate(classes):
        wrong = classes[number - 1]
        files[f"train/{name}/wrong.png"] = files.pop(f"train/{wrong}/0.png")
    files |= photos(*classes, count=3, folder="test/", first_seed=100)
    for path, content in files.items():
        place = tmp_path / "photos" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    (tmp_path / "photos.zip").write_bytes(zipped(files))
    (tmp_path / "new").mkdir()
    for number, name in enumerate(classes, start=1):
        (tmp_path / "new" / f"unseen-{number:02}.jpg").write_bytes(photo(name, 200, "JPEG"))
    return tmp_path


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_examples_of_a_document(
    path: Path, service: httpx.Client, data_dir: Path, demo: Path, commands: Path
) -> None:
    address = str(service.base_url).rstrip("/")
    text = with_few_epochs(path.read_text("utf-8"))
    found = examples(text.replace(ADDRESS, address).replace(DEFAULTS, FEWER_EPOCHS))
    if not found:
        return
    here = str(Path(sys.executable).parent)
    environment = clean_environment(
        DSPT_URL=address,
        DSPT_DATA_DIR=str(data_dir),
        PATH=f"{here}{os.pathsep}{os.environ['PATH']}",
        COLUMNS="100",
        PYTHONUNBUFFERED="1",
        HF_HUB_OFFLINE="1",
        XDG_DATA_HOME=str(demo / "share"),
        XDG_CACHE_HOME=str(demo / "cache"),
    )
    for example, printed in zip(found, run(found, demo, commands, environment), strict=True):
        if example.shown:
            told = list(differences(example, printed))
            assert not told, f"{path.name} line {example.line}: {told}\n{printed}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#\s]+)", path.read_text("utf-8")):
        if "://" not in link:
            assert (path.parent / link).exists(), link


def test_the_shown_output_is_compared_with_the_printed_output() -> None:
    document = (
        "```sh\ndspt a\n```\n\n```text\njob_00000000000000000000000001 took 3.5 s\n...\ndone\n```\n"
        "<!-- not run: it asks -->\n```sh\nrm -i x\n```\n```text\nreally?\n```\n"
        '```python\nprint(1)\n```\n```json\n{"a": [{"b": 1}]}\n```\n'
    )
    first, second = examples(document)
    assert (first.text, first.line, second.kind) == ("dspt a\n", 1, "python")
    job = "job_0123456789abcdefghijklmnop"
    assert not list(differences(first, f"{job} took 17 s\n│ a row │\nmore\ndone\n"))
    for wrong in (
        f"{job} took 17 min\ndone\n",
        f"{job} took 1 s\n",
        f"{job} took 1 s\ndone\nand\n",
    ):
        assert list(differences(first, wrong)), wrong
    assert not list(differences(second, '{"a": [{"b": 2, "c": 3}], "d": 0}'))
    for wrong in ('{"a": []}', '{"a": [{"c": 3}]}', '{"a": [{"b": "2"}]}', "{}"):
        assert list(differences(second, wrong)), wrong
    with pytest.raises(ValueError, match="is this block"):
        examples("```\ndspt\n```\n")


def test_an_example_that_fails_is_named(tmp_path: Path, commands: Path) -> None:
    found = [Example(3, "sh", "true\n"), Example(7, "python", "raise SystemExit('no')\n")]
    with pytest.raises(AssertionError, match=r"line 7:[\s\S]*no"):
        run(found, tmp_path, commands, os.environ)
    assert run(found[:1], tmp_path, commands, os.environ) == [""]
