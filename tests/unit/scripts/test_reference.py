"""docs/reference/ says what the code says."""

from __future__ import annotations

import pytest

from scripts.reference import FOLDER, pages


@pytest.fixture(scope="module")
def written() -> dict[str, str]:
    return pages()


@pytest.mark.parametrize(
    "name", ["api.md", "cli.md", "client.md", "errors.md", "library.md", "settings.md"]
)
def test_the_reference_is_that_of_the_code(written: dict[str, str], name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == written[name], "run `make reference`"


def test_everything_is_in_it(written: dict[str, str]) -> None:
    assert "## dspt models promote" in written["cli.md"]
    assert "`--metadata KEY=VALUE`" in written["cli.md"]
    assert "`--split train|val|test`" in written["cli.md"].replace("\\|", "|")
    assert "dspt models compare [OPTIONS] A B" in written["cli.md"]
    assert "### POST /jobs/{job_id}/corrections" in written["api.md"]
    assert "`client.jobs.create()`" in written["client.md"]
    assert "### `DSPTClassifier.predict_proba()`" in written["library.md"]
    assert "### `ImageClassifier.load()`" in written["library.md"]
    assert "`DSPT_PREDICT_MAX_IMAGES`" in written["settings.md"]
    for page in written.values():
        assert " at 0x" not in page  # the address of an object is another one each time
    assert written.keys() == {path.name for path in FOLDER.iterdir()}
