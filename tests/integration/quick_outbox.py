"""`dspt` whose API soon sends a message again that the broker has lost; it waits 5 s otherwise."""

from __future__ import annotations

from app.jobs.lifecycle import outbox
from dspt.cli import main as dspt

LOST_SECONDS = 1.0


def main() -> None:
    outbox.LOST_SECONDS = LOST_SECONDS
    dspt()
