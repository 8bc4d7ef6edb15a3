"""Help, and wrong usage of the commands that need no server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acceptance.local.conftest import Cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tune", "nowhere"], "path 'nowhere' does not exist"),
        (["audit", "nowhere.zip"], "path 'nowhere.zip' does not exist"),
        (["predict", "nowhere.safetensors", "x.png"], "'nowhere.safetensors' does not exist"),
        (["tune", "photos", "--class-names", "none.json"], "file 'none.json' does not exist"),
        (["tune", "photos", "--class-names", "no.json"], "error: no.json: not valid JSON"),
        (
            ["audit", "photos", "--class-names", "list.json"],
            "error: list.json: must be a JSON object that maps class folders to words",
        ),
        (
            ["tune", "photos", "--class-names", "unknown.json"],
            "error: mooon: class_names has words for this class, but the class folder does not",
        ),
        (
            ["tune", "photos", "--loss", "hinge", "--lr", "-1"],
            "error: loss is 'hinge' but should be 'dspt', 'ce', 'gce' or 'mae'; lr is -1.0 but",
        ),
        (["tune", "photos", "--epochs", "many"], "Invalid value for '--epochs'"),
        (["tune", "photos", "--epochs", "0"], "error: epochs is 0 but should be greater"),
        (["tune", "photos", "--epoch", "3"], "--epochs"),
        (["tune", "no.json"], "error: no.json: the file is not a zip"),
        (["tune", "photos/train/moon"], "error: photos/train/moon: no class folders"),
        (["tune", "photos", "--out", "no.json/model"], "error: no.json/model: cannot be written"),
        (["audit", "photos", "--csv", "no.json/a.csv"], "error: no.json/a.csv: cannot be written"),
        (
            ["tune", "no.json", "--backbone", "ViT-B-17/openai"],  # before the photos are read
            "unknown backbone ViT-B-17 (did you mean ViT-B-16",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_reported_with_exit_status_2(
    cli: Cli, photos: Path, arguments: list[str], message: str
) -> None:
    (cli.home / "no.json").write_text("not JSON")
    (cli.home / "list.json").write_text('["moon"]')
    (cli.home / "unknown.json").write_text('{"mooon": "the moon"}')
    ran = cli.here(*arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert message in ran.stderr


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "tune",
            [
                "--out",
                "--json",
                "--corrections",
                "--class-names",
                "--backbone",
                "--loss",
                "--seed",
                "--shots",
            ],
        ),
        ("audit", ["--csv", "--corrections", "--most", "--json", "--class-names", "--epochs"]),
        ("predict", ["--top-k", "--backbone", "--device", "--json"]),
    ],
)
def test_help_names_every_option_and_its_default(
    cli: Cli, command: str, options: list[str]
) -> None:
    ran = cli.here(command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    text = " ".join(ran.stdout.split())
    for option in options:
        assert f"{option} " in text
    if command == "predict":
        assert "[default: 3;" in text
    else:
        assert "One of dspt, ce, gce, mae. [default: dspt]" in text
        assert "[default: 200]" in text
        assert "[default: a photo of a]" in text
    assert "None" not in text
    assert "`" not in text


def test_without_arguments_all_commands_are_listed(cli: Cli) -> None:
    message = cli("--help").stdout
    for command in ("tune", "audit", "predict", "serve", "api", "worker"):
        assert re.search(rf"^  {command} +\S", message, re.MULTILINE)
    ran = cli()
    assert ran.returncode == 2
    assert "Commands:" in ran.stdout + ran.stderr
