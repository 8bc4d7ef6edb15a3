"""The values of the Helm chart: their schema, wrong ones, and those in its documents."""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart import CHART, ROOT, helm, of_kind, pods, rendered

WORKERS = (
    "workers[0].name=a,workers[0].backbones=*,workers[0].gpus=0,"
    "workers[0].disk.photosGiB=1,workers[0].disk.scratchGiB=1"
)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("api.replicas=0", "minimum"),
        ("api.replica=2", "replica"),
        ("typo=1", "typo"),
        ("ingress.enabled=true", "host"),
        ("workers[0].gpus=2", "maximum"),
        ("workers[0].backbones=builtin", "backbones"),
        ("workers[0].scaledJob.maxReplicas=1", "idleSeconds"),
        (f"{WORKERS}", "oneOf"),
        (f"{WORKERS},workers[0].replicas=1,workers[0].scaledJob.maxReplicas=1", "oneOf"),
        ("settings.DSPT_POOLS=[]", "the pools are those of workers"),
        ("workers[0].name=Big GPU", "pattern"),
        ("settings.DSPT_LOG_LEVEL=1", "string"),
        ("settings.DSPT_DATABASE_URL=postgresql://a:b@c/d", "DSPT_DATABASE_URL"),
        ("settings.DSPT_PORT=9000", "DSPT_PORT"),
        ("settings.PATH=/bin", "PATH"),
    ],
)
def test_wrong_values_are_refused(setting: str, told: str) -> None:
    result = helm("template", "dspt", str(CHART), "--set", setting)
    assert result.returncode == 1
    assert told in result.stderr


def test_the_schema_describes_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    def check(values: Any, part: dict[str, Any], where: str) -> None:
        if "$ref" in part:
            part = schema["definitions"][part["$ref"].rpartition("/")[2]]
        if isinstance(values, list):
            for value in values:
                check(value, part["items"], where)
        elif isinstance(values, dict):
            assert part.get("additionalProperties", True) is not True, where
            for name in {*values, *part["properties"]} if "properties" in part else ():
                if name == "scaledJob":  # instead of replicas
                    continue
                assert name in values, f"{where}.{name} is not in values.yaml"
                check(values[name], part["properties"][name], f"{where}.{name}")

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    # Lists of Kubernetes' own objects are its schema's to check.
    check(values, schema, "")


@pytest.mark.parametrize("document", [ROOT / "docs" / "scaling.md", CHART / "README.md"])
def test_the_values_in_the_documents_hold(document: Path, tmp_path: Path) -> None:
    [values] = re.findall(r"^ *images:\n(?:.+\n)+?(?= *(?:END|```)$)", document.read_text(), re.M)
    (tmp_path / "values.yaml").write_text(textwrap.dedent(values))
    deployments = of_kind(rendered(tmp_path / "values.yaml"), "Deployment")
    assert "dspt-api" in deployments
    [container] = pods(rendered(tmp_path / "values.yaml"))["dspt-api"]["containers"]
    assert container["image"] == "registry.example/dspt-api:0.1.0"


def test_the_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https:)([^)#\s]+)", (CHART / "README.md").read_text())
    assert links
    for link in links:
        assert (CHART / link).exists(), link
