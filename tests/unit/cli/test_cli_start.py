"""Every command starts at once: what is heavy is imported by the commands that use it."""

from __future__ import annotations

import subprocess
import sys


def test_commands_are_light() -> None:
    heavy = "{'torch', 'sqlalchemy', 'alembic', 'celery', 'numpy', 'PIL', 'httpx', 'pandas'}"
    code = f"""if True:
        import sys
        from dspt.cli import build
        build()
        print(sorted({heavy} & set(sys.modules)))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
