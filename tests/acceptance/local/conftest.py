"""The commands that need no server: `dspt` in a folder of its own, and photos there."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from unittest.mock import patch

import pytest

from dspt.cli import main
from tests.photographs import write_photographs

DSPT = Path(sys.executable).with_name("dspt")
CLASSES = ("brick", "coins", "moon")
TRAIN, TEST = 6, 3
SHORT = ("--epochs", "3", "--batch-size", "8")


class Cli:
    """Runs the installed command in a folder of its own, with a cache and hub of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("DSPT_")
        } | {
            "XDG_CACHE_HOME": str(home / "cache"),
            "HF_HOME": str(home / "hub"),
            "HF_HUB_OFFLINE": "1",
            "NO_COLOR": "1",
            "COLUMNS": "80",
        }

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [DSPT, *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def here(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """The same within this process: one of its own takes seconds to import torch."""
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.home),
            patch.dict(os.environ, self.environment, clear=True),
            patch.object(sys, "argv", ["dspt", *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        return subprocess.CompletedProcess(
            arguments, ended.value.code, out.getvalue(), err.getvalue()
        )


@pytest.fixture(scope="session")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def photos(cli: Cli) -> Path:
    """Folder `photos` with train/, test/ and a file that is no image; photos.zip is the same."""
    folder = write_photographs(cli.home / "photos", CLASSES, train=TRAIN, test=TEST, seed=7)
    (folder / "train" / "moon" / "notes.jpg").write_text("not a photo")
    with zipfile.ZipFile(cli.home / "photos.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(cli.home))
    return folder


@pytest.fixture(scope="session")
def tuned(cli: Cli, photos: Path) -> subprocess.CompletedProcess[str]:
    """`dspt tune` on the folder."""
    return cli.here("tune", photos, "--out", "made/model.safetensors", *SHORT)


@pytest.fixture(scope="session")
def model(cli: Cli, tuned: subprocess.CompletedProcess[str]) -> Path:
    assert tuned.returncode == 0, tuned.stderr
    return cli.home / "made" / "model.safetensors"
