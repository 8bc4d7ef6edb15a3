"""What all benchmarks share: exit statuses, files, resuming, tables, plots."""

from __future__ import annotations

import argparse
import io
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from benchmarks.skeleton.machine import code_digest, digest_of_code, machine, versions
from benchmarks.skeleton.options import add_common, positive, share
from benchmarks.skeleton.program import (
    Benchmark,
    BenchmarkError,
    Document,
    grid_progress,
    run,
)
from benchmarks.skeleton.records import Records, dumps
from benchmarks.skeleton.report import Spread, heading, spread_note, table
from dspt.errors import ConfigError, DatasetError, Problem

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Benchmark]:
    """Makes a benchmark from its function `measure`."""

    def make(measure: Callable[[Document], None], **more: Any) -> Benchmark:
        def measured(options: argparse.Namespace, document: Document, console: Console) -> None:
            measure(document)

        report = SimpleNamespace(
            markdown=lambda document: f"answer {document.get('answer')}\n",
            figures=lambda document: {"example.png": b"picture"},
        )
        modules = {"run": SimpleNamespace(measure=measured), "report": report}
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, f"benchmarks.example.{name}", module)
        return Benchmark("example", "An example.", lambda p: add_common(p, "data"), **more)

    return make


def _answer(document: Document) -> None:
    document["answer"] = 42


def test_results_are_written_with_the_command_as_typed(
    tmp_path: Path, example: Callable[..., Benchmark], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", "some photos", "--out", str(tmp_path)]
    assert run(example(_answer), arguments) == 0
    document = json.loads((tmp_path / "example.json").read_text())
    assert (
        document["command"] == f"python -m benchmarks.example --data 'some photos' --out {tmp_path}"
    )
    assert document["answer"] == 42
    assert {"processor", "cpus", "load_before", "load_after"} <= document["machine"].keys()
    assert {"Python", "torch"} <= document["versions"].keys()
    assert (tmp_path / "example.md").read_text() == "answer 42\n"
    assert (tmp_path / "example.png").read_bytes() == b"picture"
    assert "answer 42" in capsys.readouterr().out


def test_report_only_measures_nothing_and_needs_no_data(
    tmp_path: Path, example: Callable[..., Benchmark]
) -> None:
    (tmp_path / "example.json").write_text('{"answer": 7}')

    def measure(document: Document) -> None:
        raise AssertionError

    assert run(example(measure), ["--report-only", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "example.md").read_text() == "answer 7\n"


@pytest.mark.parametrize(
    "arguments", [[], ["--report-only"], ["--data"]], ids=["no data", "nothing stored", "no folder"]
)
def test_missing_arguments_are_refused(
    arguments: list[str], tmp_path: Path, example: Callable[..., Benchmark]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(example(_answer), [*arguments, "--out", str(tmp_path)])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (BenchmarkError("the server ended"), 1, "the server ended"),
        (OSError("disk full"), 1, "disk full"),
        (ConfigError("epochs must be positive"), 2, "epochs must be positive"),
        (DatasetError([Problem("a.jpg", "x", "is damaged")]), 2, "a.jpg: is damaged"),
        (KeyboardInterrupt(), 130, "Interrupted"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_status_of_errors(
    error: BaseException,
    status: int,
    message: str,
    tmp_path: Path,
    example: Callable[..., Benchmark],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measure(document: Document) -> None:
        raise error

    assert run(example(measure), ["--data", "x", "--out", str(tmp_path)]) == status
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_sigterm_ends_like_ctrl_c_and_reports_what_there_is(
    tmp_path: Path, example: Callable[..., Benchmark]
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def measure(document: Document) -> None:
        document["answer"] = 1
        signal.raise_signal(signal.SIGTERM)
        document["answer"] = 2

    benchmark = example(measure, reportable=lambda document: "answer" in document)
    assert run(benchmark, ["--data", "x", "--out", str(tmp_path)]) == 130
    document = json.loads((tmp_path / "example.json").read_text())
    assert (document["answer"], document["interrupted"]) == (1, True)
    assert signal.getsignal(signal.SIGTERM) == before


def test_failed_parts_are_reported_with_status_1(
    tmp_path: Path, example: Callable[..., Benchmark]
) -> None:
    def measure(document: Document) -> None:
        document["failed"] = {"cell": "why"}

    assert run(example(measure), ["--data", "x", "--out", str(tmp_path)]) == 1
    assert (tmp_path / "example.md").is_file()


def _shown(*, terminal: bool) -> str:
    """What a run of three parts prints, the first of which lasts 25 seconds."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with grid_progress(console, auto_refresh=False) as bar:
        now = 0.0
        bar.get_time = lambda: now
        task = bar.add_task("cells", total=3)
        for now in (0.0, 1.0, 10.0, 11.0, 25.0):
            bar.update(task, completed=now / 25)
        bar.update(task, description="others", completed=1)
        bar.advance(task)
        bar.advance(task)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_progress_without_a_terminal_is_a_line_for_each_part_and_for_every_10_seconds() -> None:
    assert _shown(terminal=False).splitlines() == [
        "cells 0/3 0:00:00 ETA -:--:--",
        "cells 0/3 0:00:10 ETA 0:01:05",
        "cells 1/3 0:00:25 ETA 0:00:50",
        "others 1/3 0:00:25 ETA 0:00:50",
        "others 2/3 0:00:25 ETA 0:00:13",
        "others 3/3 0:00:25 ETA 0:00:00",
    ]


def test_progress_on_a_terminal_is_one_bar() -> None:
    shown = _shown(terminal=True)
    assert "3/3" in shown
    assert "━" in shown
    assert "cells 0/3" not in shown


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [(positive, ("1", 1), ["0", "-1", "x", "1.5"]), (share, ("0.5", 0.5), ["1.1", "-1", "nan"])],
)
def test_numbers_of_options(
    kind: Callable[[str], float], good: tuple[str, float], bad: list[str]
) -> None:
    assert kind(good[0]) == good[1]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match="must be"):
            kind(text)


def test_records_are_found_by_name_and_key(tmp_path: Path) -> None:
    records = Records(tmp_path / "cells", {"code": "b"})
    key = records.key(rate=0.5, classes=("x", "y"))
    assert records.get("a", key) is None
    assert records.put("a", key, {"accuracy": 1.0}) == {"key": key, "accuracy": 1.0}
    assert records.get("a", key) == {"key": key, "accuracy": 1.0}
    for other in (
        records.key(rate=0.25, classes=("x", "y")),
        Records(tmp_path / "cells", {"code": "c"}).key(rate=0.5, classes=("x", "y")),
    ):
        assert records.get("a", other) is None
    for damage in ("{", "[]"):
        (tmp_path / "cells" / "a.json").write_text(damage)
        assert records.get("a", key) is None


def test_json_has_a_line_per_record() -> None:
    document = {"settings": {"seeds": [1, 2]}, "cells": [{"a": 1}, {"a": 2}], "none": []}
    text = dumps(document)
    assert json.loads(text) == document
    assert '  {"a": 1},\n  {"a": 2}\n' in text


def test_spread_of_one_seed_has_no_deviation() -> None:
    assert Spread.of([70.0, 72.0]).text() == "71.0 ± 1.4"
    assert Spread.of([70.0]).text() == "70.0"
    assert Spread.of([1.0, 2.0]).text("+.2f") == "+1.50 ± 0.71"
    assert spread_note([1, 2, 3]) == "mean ± standard deviation over 3 seeds (1, 2, 3)"
    assert "±" not in spread_note([1])


def test_table_aligns_numbers_to_the_right() -> None:
    assert table(["data", "accuracy"], [["eurosat", "71"]]) == [
        "| data | accuracy |",
        "| :-- | --: |",
        "| eurosat | 71 |",
    ]


@pytest.mark.parametrize("path", sorted(RESULTS.glob("**/*.json")), ids=lambda path: path.stem)
def test_heading_reads_all_stored_results(path: Path) -> None:
    document = json.loads(path.read_text())
    text = "\n".join(heading(document))
    assert document["command"] in text
    assert "2 CPUs" in text
    assert "Python 3." in text
    # What ran; several hosts with a simulated GPU have no use for torch.
    assert ("dspt 0." if path.stem == "scale" else "torch 2.") in text


def test_machine_has_no_name_of_the_computer() -> None:
    import platform

    assert platform.node() not in json.dumps(machine())
    assert "no such package" not in versions(["no such package"])


def test_the_code_of_a_benchmark_counts_without_its_reports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "benchmarks.skeleton.machine.digest_of_code", lambda files: {path.name for path in files}
    )
    counted = set(code_digest("skeleton", "noise_robustness"))
    assert {"nlprompt.py", "grid.py", "pipeline.py", "sweep.py"} <= counted
    assert not {"report.py", "figures.py", "rankings.py"} & counted


def test_digest_of_code_ignores_comments_and_docstrings(tmp_path: Path) -> None:
    file = tmp_path / "code.py"

    def digest(text: str) -> str:
        file.write_text(text)
        return digest_of_code([file])

    first = digest('"""Doc."""\nX = 1\n"""Of X."""\n')
    assert digest("# comment\nX = 1\n") == first
    assert digest("X = 2\n") != first
