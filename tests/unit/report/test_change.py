"""What corrections changed, on the images measured before and after."""

from __future__ import annotations

import pytest

from dspt.errors import DatasetError
from dspt.report.change import Change, Prediction
from dspt.report.comparison import compare


def after(**predicted: str) -> list[Prediction]:
    """Images called `<label>_<number>`, with what is predicted for them."""
    return [
        Prediction(file, file.partition("_")[0], name, 0.75) for file, name in predicted.items()
    ]


def test_the_same_images_with_the_corrected_labels() -> None:
    before = {"cat_1": "dog", "cat_2": "cat", "dog_1": "dog", "dog_2": "cat", "gone": "cat"}
    new = after(cat_1="cat", cat_2="dog", dog_1="dog", dog_2="dog", dog_3="dog", fox_1="fox")
    found = Change.of(before | {"fox_1": "cat"}, new, ("cat", "dog"), ("cat", "dog", "fox"))
    assert found.gained == ("cat_1", "dog_2")
    assert found.lost == ("cat_2",)
    expected = compare(
        ["cat", "cat", "dog", "dog", "fox"],
        ["dog", "cat", "dog", "cat", "cat"],
        ["cat", "dog", "dog", "dog", "fox"],
        ("cat", "dog"),
        ("cat", "dog", "fox"),
    )
    document = found.to_dict()
    assert (document["images"], document["left_out"]) == (4, 1)
    assert document["before"]["accuracy"] == 0.5
    assert document["after"]["accuracy"] == 0.75
    assert document["difference"] == 0.25
    assert document["difference_interval"] == list(expected.difference_interval)
    assert document["p_value"] == expected.p_value
    assert document["verdict"].startswith("The difference to the job before")
    assert "50.0% before, 75.0% now, +25.0 points" in document["verdict"]


def test_a_significant_difference() -> None:
    new = after(**{f"cat_{i}": "cat" for i in range(12)})
    before = {each.file: "dog" for each in new}
    found = Change.of(before, new, ("cat", "dog"), ("cat", "dog"))
    assert found.verdict.startswith("Significantly better than the job before it")
    worse = Change.of(
        {each.file: "cat" for each in new},
        [Prediction(each.file, "cat", "dog", 0.5) for each in new],
        ("cat", "dog"),
        ("cat", "dog"),
    )
    assert worse.verdict.startswith("Significantly worse")
    assert (len(worse.gained), len(worse.lost)) == (0, 12)


def test_no_image_in_common() -> None:
    with pytest.raises(DatasetError):
        Change.of({"dog_1": "dog"}, after(cat_1="cat"), ("cat", "dog"), ("cat", "dog"))
