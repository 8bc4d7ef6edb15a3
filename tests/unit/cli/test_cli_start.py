"""Start of the `dspt` command: light imports, version, broken commands of other packages."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer.main

from app.kit.schema import migrate
from dspt.cli import build
from tests.commands import invoke
from tests.services import clean_environment

DSPT = Path(sys.executable).parent / "dspt"


def test_commands_are_light() -> None:
    heavy = {
        "torch",
        "sqlalchemy",
        "alembic",
        "celery",
        "numpy",
        "PIL",
        "httpx",
        "pandas",
        "fastapi",
    }
    code = f"""if True:
        import sys
        import typer.main
        from dspt.cli import build
        commands = typer.main.get_command(build()).commands
        commands.listed()
        print(sorted({heavy | {"pydantic", "rich"}} & set(sys.modules)))
        dict(commands)
        print(sorted({heavy} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_a_command_on_a_migrated_database_imports_no_web_framework_and_no_migrations(
    tmp_path: Path,
) -> None:
    web = {"fastapi", "uvicorn", "httpx"}
    late = {"alembic", "mako", "psycopg", "numpy", "PIL", "redis", "celery"}
    code = f"""if True:
        import sys
        from dspt.cli import build
        assert not build()(["keys", "list"], standalone_mode=False)
        print(sorted({web | late} & set(sys.modules)))"""
    environment = clean_environment(DSPT_DATA_DIR=str(tmp_path))
    migrate(f"sqlite:///{tmp_path / 'dspt.db'}")
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_summaries_are_the_first_sentences_of_the_help() -> None:
    commands = getattr(typer.main.get_command(build()), "commands")  # noqa: B009
    assert list(commands) == list(commands.listed())
    for name, listed in commands.listed().items():
        found = commands[name].get_short_help_str(1000)
        assert listed.get_short_help_str(1000) == found, f"summary of dspt {name}"


def test_version() -> None:
    done = subprocess.run([DSPT, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"dspt {version('dspt')}\n"


@pytest.mark.parametrize("arguments", [["card", "--help"], ["--help"]])
def test_broken_command_of_another_package(tmp_path: Path, arguments: list[str]) -> None:
    """It causes a warning. The other commands work, also the one that it would replace."""
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dspt.commands]\nextra = plugin:run\ncard = plugin:x\n")
    (tmp_path / "plugin.py").write_text("raise ValueError('needs Python 4')\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [DSPT, *arguments], capture_output=True, text=True, check=True, env=environment
    )
    assert "Show the model card of a tuned classifier" in done.stdout
    for name in ("card",) if arguments[0] == "card" else ("extra", "card"):
        assert (
            f"warning: the command `dspt {name}` of the package plugin cannot be loaded "
            "(ValueError: needs Python 4)" in done.stderr
        )


def test_a_choice_that_does_not_exist_is_refused_without_the_prefix_of_pydantic() -> None:
    result = invoke(["jobs", "list", "--status", "lost"])
    assert result.exit_code == 2
    assert "Invalid value for '--status': 'lost' is not one of 'queued', " in result.stderr
