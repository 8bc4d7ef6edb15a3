"""Progress of long commands."""

from __future__ import annotations

import pytest
from rich.progress import BarColumn

from dspt.cli import terminal


def test_a_pipe_gets_lines_about_the_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal.Bar(BarColumn(), transient=True) as bar:
        task = bar.add_task("validating", total=10)
        bar.advance_to(task, 1, "early")
        assert capsys.readouterr().err == ""  # a short command prints none
        monkeypatch.setattr(terminal, "LINE_SECONDS", 0)
    with terminal.Bar(BarColumn(), transient=True) as bar:
        task = bar.add_task("validating", total=10)
        bar.advance_to(task, 4, "encoding")
        bar.advance_to(task, 5, "tuning 3/50")
    lines = capsys.readouterr().err.split("\n")
    assert [line for line in lines if line.strip()] == ["encoding: 40%", "tuning 3/50: 50%"]
