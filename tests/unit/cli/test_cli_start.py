"""Start of the `dspt` command: light imports, version, broken commands of other packages."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

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
        from dspt.cli import build
        build()
        print(sorted({heavy} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version() -> None:
    done = subprocess.run([DSPT, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"dspt {version('dspt')}\n"


def test_broken_command_of_another_package(tmp_path: Path) -> None:
    """It causes a warning. The other commands work, also the one that it would replace."""
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dspt.commands]\nextra = plugin:run\ncard = plugin:x\n")
    (tmp_path / "plugin.py").write_text("raise ValueError('needs Python 4')\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [DSPT, "card", "--help"], capture_output=True, text=True, check=True, env=environment
    )
    assert "Show the model card of a tuned classifier" in done.stdout
    for name in ("extra", "card"):
        assert (
            f"warning: the command `dspt {name}` of the package plugin cannot be loaded "
            "(ValueError: needs Python 4)" in done.stderr
        )
