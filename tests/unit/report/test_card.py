"""Model cards: their content, and that untrusted names are rendered literally."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt
from models import CLASSES, manifest_values, tuned_model
from typer.testing import CliRunner

from dspt.cli import build
from dspt.config import TuneConfig
from dspt.model.artifact import Manifest, save_model
from dspt.report.card import JobRecord, ModelCard, card_of, curves_svg, to_markdown, write_card
from dspt.report.card.curves import sparkline
from dspt.report.card.markdown import escaped
from dspt.report.card.schema import CardData, CardEpoch, CardFile

HOSTILE = [
    "a | b | c",
    "<script>alert(1)</script>",
    "`code` ``` *bold* __it__ ~~x~~",
    "[text](http://evil.example) ![x](y)",
    "- item",
    "1. item",
    "> quote",
    "# heading",
    "http://evil.example www.evil.example <a@evil.example>",
    "\\| &lt;b&gt; &#124;",
    "---",
    "+ item",
    "12345) item",
    "$x^2$ :smile: @somebody",
]


def part(accuracy: float, **changes: Any) -> dict[str, Any]:
    return {
        "images": 20,
        "accuracy": accuracy,
        "accuracy_interval": [accuracy - 0.1, accuracy + 0.1],
        "per_class": dict.fromkeys(CLASSES[:9], accuracy) | {"class 9": None},
        "calibration_error": 0.05,
    } | changes


def metrics(**changes: Any) -> dict[str, Any]:
    """Class 0 is predicted as class 3 three times."""
    confusion = [[2 if i == j else 0 for j in range(10)] for i in range(10)]
    confusion[0][3], confusion[9][9] = 3, 0
    return {
        "zero_shot": part(0.4),
        "prompt": part(0.5),
        "tuned": part(0.6, confusion=confusion) | {"unheard of": 1},
        "measured_on": "held_out",
        "noise_rate": {"estimate": 0.25, "low": 0.2, "high": 0.3},
        "blend": {"zero_shot": 0.5, "class_means": 1.25},
        "history": [epoch(number) for number in range(1, 101)],
        "seconds": {"tuning": 2.0, "encoding": 3.0},
    } | changes


def epoch(number: int) -> dict[str, Any]:
    loss = 1 / number
    return {"epoch": number, "loss": loss, "train_accuracy": 1 - loss, "suppressed": 0.2, "lr": 0.1}


def make_card(job: JobRecord | None = None, name: str = "a name", **changes: Any) -> ModelCard:
    manifest = Manifest(**manifest_values())
    return card_of(manifest, name=name, metrics=metrics(**changes), job=job)


def html(markdown: str) -> str:
    return (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown)
    )


def test_card_has_the_facts_of_its_job() -> None:
    rejected = [CardFile(file="cat/1.jpg", reason="is empty")]
    data = CardData(filename="a.zip", images=120, split={"train": 100, "test": 20, "val": 0})
    data.rejected = rejected * 25
    card = make_card(JobRecord(job_id="job_1", data=data, warnings=["two classes look alike"]))
    assert (card.source, card.served, card.measured_on) == ("job", "tuned", "held_out")
    assert [each.accuracy for each in card.results] == [0.4, 0.5, 0.6]
    worst = card.classes[0]
    assert (worst.images, worst.mistaken_for, worst.mistaken) == (5, "class 3", 3)
    assert (card.classes[9].images, card.classes[9].tuned) == (0, None)
    assert (card.epochs[-1].epoch, card.noise and card.noise.low) == (100, 0.2)

    text = to_markdown(card)
    for said in (
        "| created by | job\\_1 |",
        "| images | 120 (100 train, 20 test) |",
        "| cat/1.jpg | is empty |",
        "and 5 more.",
        "- two classes look alike",
        "About 25% of the training labels are wrong (90 % interval: 20% to 30%).",
        "On 20 held-out images, compared with their recorded labels.",
        "| tuned | yes | 60.0% | 50.0% to 70.0% | 0.050 |",
        "zero shot 0.50, class means 1.25",
        "| class 0 | cat | class 3 (3) | 5 | 40% | 60% |",
        "| loss | ",
        "The job took 5 seconds.",
        "a perfect classifier scores about 75%",
        "Single classes were measured on 2 to 5 images",
        "Licence of the backbone's weights: Apache-2.0.",
    ):
        assert said in text, said
    assert text.count("cat/1.jpg") == 20


def test_card_without_a_job() -> None:
    card = card_of(Manifest(**manifest_values()), name="mine.safetensors")
    assert (card.source, card.job, card.epochs, card.noise) == ("manifest", None, [], None)
    text = to_markdown(card)
    assert "Made from the classifier's file only" in text
    assert "its figures are not verified" in text
    assert "Its accuracy was not measured or is not recorded." in text
    assert "## Data" not in text
    assert "## Training curves" not in text
    with pytest.raises(ValueError, match="no epochs"):
        curves_svg(card.epochs)


def test_served_zero_shot_is_marked() -> None:
    manifest = Manifest(**manifest_values(served="zero_shot"))
    card = card_of(manifest, name="a", metrics=metrics())
    assert "| zero-shot | yes | 40.0% |" in to_markdown(card)
    assert any("Tuning did not beat zero-shot" in text for text in card.limits)
    assert any(text.startswith("Not measured") and "class 9." in text for text in card.limits)
    # Only the confusion of the served classifier is shown.
    assert {each.mistaken_for for each in card.classes} == {None}


def test_a_card_of_a_job_without_tuning_calls_nothing_tuned() -> None:
    values = manifest_values(config=TuneConfig(tuning="none"), why="It does better.")
    card = card_of(Manifest(**values), name="a", metrics=metrics(history=[]))
    text = to_markdown(card).replace("the classifier was tuned", "")
    assert "| zero-shot with class means | yes | 60.0% |" in text
    assert "| served | zero-shot with class means |" in text
    assert not re.search(r"\btuned\b", text.partition("## Settings")[0])
    zero_shot = card_of(Manifest(**values | {"served": "zero_shot"}), name="a", metrics=metrics())
    assert any("The class means did not beat zero-shot" in text for text in zero_shot.limits)


def test_card_shows_the_temperature() -> None:
    temperatures = {"tuned": 1.0, "zero_shot": 1.5}
    card = card_of(
        Manifest(**manifest_values(temperatures=temperatures)), name="a", metrics=metrics()
    )
    assert card.temperatures == temperatures
    assert "Temperature, fitted on held-out images: zero-shot 1.50." in to_markdown(card)


def test_card_reports_photos_without_labels_apart() -> None:
    found = {"photos": 2000, "used": 1500, "accuracy_without": 0.55}
    card = make_card(unlabelled=found)
    assert card.unlabelled is not None
    text = to_markdown(card)
    assert "semi-supervised: 1,500 photos without labels moved its class means." in text
    assert "Without them its accuracy is 55.0%." in text
    assert any("1,500 photos without labels" in limit for limit in card.limits)
    for none in (make_card(), make_card(unlabelled=found | {"used": 0})):
        assert "without labels" not in to_markdown(none)


def test_card_lists_classes_added_by_name() -> None:
    card = card_of(
        Manifest(**manifest_values()),
        name="a",
        metrics={"added_classes": CLASSES[8:], "before": metrics()},
    )
    assert "| classes added by name | class 8, class 9 |" in to_markdown(card)
    assert "2 of its classes were added by name" in card.limits[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"tuned": "great"},
        {"tuned": {"accuracy": 7}},
        {"measured_on": "the moon"},
        {"measured_on": ["test"]},
        {"noise_rate": [1, 2]},
        {"unlabelled": {"photos": -1, "used": "all"}},
        {"history": {"epoch": 1}},
        {"history": [epoch(1) | {"loss": "low"}]},
        {"history": [epoch(1) | {"loss": 1e308}, epoch(2) | {"loss": 1e308}]},
        {"history": [epoch(1)] * 10_001},
        {"blend": "none"},
        {"seconds": {"tuning": {}}},
        {"added_classes": 3},
        {"zero_shot": part(0.4, per_class=[1, 2], confusion=[[1]])},
        {"tuned": part(0.6, confusion=[[-1] * 10] * 10)},
        {"tuned": part(0.6, confusion=[[1] * 9] * 10)},
        {"tuned": None, "prompt": None, "zero_shot": None},
    ],
    ids=lambda wrong: str(wrong)[:40],
)
def test_invalid_metrics_are_omitted(wrong: dict[str, Any]) -> None:
    """The metrics of an imported file are untrusted."""
    card = make_card(**wrong)
    assert card.limits
    assert to_markdown(card).startswith("# a name")
    assert ModelCard.model_validate_json(card.model_dump_json()) == card


def test_untrusted_names_are_rendered_literally() -> None:
    for text in HOSTILE:
        for place in (escaped(text), f"- {escaped(text)}"):
            shown = html(place)
            inner = re.sub(r"</?(p|ul|li)>|\n", "", shown)
            assert "<" not in inner, (text, shown)
            plain = inner.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
            assert plain.replace("&amp;", "&") == text
    assert escaped("two\nlines\t here ") == "two lines here"


def test_hostile_names_do_not_change_the_structure() -> None:
    def card(names: list[str]) -> ModelCard:
        manifest = Manifest(
            **manifest_values(classes=names, class_words=names, why=names[1], activation=names[0])
        )
        confusion = [[1] * 10] * 10
        found = metrics(
            tuned=part(0.6, per_class=dict.fromkeys(names, 0.5), confusion=confusion),
            blend={names[2]: 1.0},
        )
        files = [CardFile(file=name, reason=name) for name in names]
        data = CardData(filename=names[0], images=1, rejected=files)
        job = JobRecord(job_id="job_1", data=data, warnings=names)
        return card_of(manifest, name=names[1], metrics=found, job=job)

    def skeleton(names: list[str]) -> list[str]:
        return re.findall(r"<[^>]*>", html(to_markdown(card(names))))

    good = skeleton([f"name {number}" for number in range(10)])
    assert good.count("<table>") == 7
    assert skeleton(HOSTILE[:10]) == good
    assert skeleton(HOSTILE[4:]) == good


def test_only_the_weakest_of_many_classes_are_shown() -> None:
    names = [f"class {number}" for number in range(150)]
    manifest = Manifest(**manifest_values(classes=names, class_words=names))
    accuracy = {name: number / 150 for number, name in enumerate(names)}
    card = card_of(manifest, name="a", metrics=metrics(tuned=part(0.5, per_class=accuracy)))
    text = to_markdown(card)
    assert "| class 0 | class 0 | 40% | 0% |" in text  # no confusion matrix: images not counted
    assert "| class 99 |" in text
    assert "| class 100 |" not in text
    assert "and 50 more classes." in text


def test_curves_are_written_as_svg(tmp_path: Path) -> None:
    written = write_card(make_card(), tmp_path / "new" / "card.md")
    assert [path.name for path in written] == ["card.md", "card.svg"]
    assert "](card.svg)" in written[0].read_text("utf-8")
    root = ElementTree.fromstring(written[1].read_text("utf-8"))
    lines = [each for each in root.iter() if each.tag.endswith("polyline")]
    assert len(lines) == 3
    for line in lines:
        points = [tuple(map(float, each.split(","))) for each in line.attrib["points"].split()]
        assert len(points) == 100
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert {"loss", "accuracy on the recorded labels", "0.99", "100"} <= set(texts)


def test_curves_of_one_epoch_and_of_unbounded_losses() -> None:
    one = CardEpoch(epoch=1, loss=7.5, train_accuracy=0.5, suppressed=0)
    assert ">7.5<" in curves_svg([one])
    assert ">-1<" in curves_svg([one, one.model_copy(update={"loss": -1.0})])


def test_sparklines() -> None:
    assert sparkline([0, 1, 2, 7]) == "▁▂▃█"
    assert sparkline([3]) == sparkline([5]) == "▁"
    long = sparkline(list(range(1000)))
    assert len(long) == 40
    assert (long[0], long[-1]) == ("▁", "█")
    assert list(long) == sorted(long)


def test_from_the_shell(tmp_path: Path) -> None:
    artifact = tmp_path / "mine.safetensors"
    save_model(tuned_model(), artifact)

    def dspt(*arguments: str, ends: int = 0) -> str:
        done = CliRunner().invoke(build(), ["card", *arguments])
        assert done.exit_code == ends, done.output
        return done.output

    assert dspt(str(artifact)).startswith("# mine.safetensors\n")
    assert json.loads(dspt(str(artifact), "--json"))["object"] == "model_card"
    target = tmp_path / "card.md"
    assert f"Saved {target}." in dspt(str(artifact), "--out", str(target)).replace("\n", "")
    assert target.read_text("utf-8") == dspt(str(artifact))
    (tmp_path / "bad").write_bytes(b"x")
    assert "damaged" in dspt(str(tmp_path / "bad"), ends=2)
