"""Parts of a Markdown report: tables, mean ± standard deviation, the heading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

Goal = tuple[str, str, bool]
"""What is to be reached, what was measured, and whether it was reached."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds."""

    mean: float
    std: float | None
    """Of the sample (n - 1); None for a single value."""
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))

    def text(self, form: str = ".1f") -> str:
        """Return `71.2 ± 0.4`, or `71.2` for a single value."""
        spread = "" if self.std is None else f" ± {self.std:{form.lstrip('+')}}"
        return f"{self.mean:{form}}{spread}"


def spread_note(seeds: Sequence[int]) -> str:
    """Return what the numbers of a table are over these seeds."""
    if len(seeds) == 1:
        return f"one seed ({seeds[0]})"
    listed = ", ".join(map(str, seeds))
    return f"mean ± standard deviation over {len(seeds)} seeds ({listed})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """Return the lines of a Markdown table; columns after the first `left` are right-aligned."""
    rule = [":--" if column < left else "--:" for column in range(len(header))]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def goal_table(goals: Iterable[Goal]) -> list[str]:
    rows = ((goal, measured, "yes" if met else "no") for goal, measured, met in goals)
    return table(("goal", "measured", "met"), rows, left=3)


def page(title: str, document: Mapping[str, Any], *blocks: str | Iterable[str]) -> str:
    """Return a page: title, heading, and blocks (a text, or the lines of a table or list).

    Empty blocks are skipped.
    """
    found = [f"# {title}", "\n".join(heading(document))]
    found += [block if isinstance(block, str) else "\n".join(block) for block in blocks]
    return "\n\n".join(block for block in found if block) + "\n"


def heading(document: Mapping[str, Any]) -> list[str]:
    """Return lines with the command, the machine and the versions of a run."""
    about = document["machine"]
    parts = [about.get("gpu"), about["processor"], f"{about['cpus']} CPUs", about.get("system")]
    if about.get("load_before") is not None:
        after = about.get("load_after")
        end = "" if after is None else f", {after:.1f} after"
        parts.append(f"load average {about['load_before']:.1f} before{end}")
    machine = ", ".join(part for part in parts if part)
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    return [f"    {document['command']}", "", f"{machine}. {versions}."]
