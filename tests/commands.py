"""`dspt` commands in this process; the program is built once, which takes longer than most run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from unittest.mock import patch

import typer
from typer.testing import CliRunner, Result

from dspt.cli import build

_built = cache(build)
_command = cache(typer.main.get_command)


def invoke(arguments: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Result:
    """`dspt ARGUMENTS`, with `env` in addition to the environment."""
    with patch("typer.testing._get_command", _command):
        return CliRunner().invoke(_built(), [str(argument) for argument in arguments], env=env)
