"""Validation of a job request. Each error names the field or setting at fault."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app.backbones.allowed import check_backbone
from app.kit.control_characters import is_clean
from app.kit.http.errors import ProblemItem, Unprocessable, invalid_field
from app.kit.metadata import parse as parse_metadata
from app.tables.jobs import Job
from dspt.config import TuneConfig, explain
from dspt.data.class_words import MAX_CHARACTERS
from dspt.data.hostile.limits import Limits
from dspt.data.names import find_invisible
from dspt.errors import ConfigError
from dspt.kit import strict_json
from dspt.kit.text import listed, printable

_SHOWN = 10
#: More settings than exist, and longer than any name; the response repeats unknown ones.
_MAX_SETTINGS = 100


@dataclass(frozen=True)
class JobRequest:
    """A validated job request, apart from its data set."""

    name: str | None
    config: dict[str, Any]
    class_names: dict[str, str] | None
    metadata: dict[str, str] | None = None

    @classmethod
    def parse(
        cls,
        *,
        name: str | None,
        config: str | None,
        class_names: str | None,
        metadata: str | None = None,
        local_backbones: Sequence[str],
    ) -> JobRequest:
        """Validate the form fields. Raises Unprocessable.

        `local_backbones` are the only paths allowed as a backbone.
        """
        return cls(
            name=checked_name(name),
            config=checked_config(_object("config", config) or {}, local_backbones),
            class_names=_class_names(class_names),
            metadata=parse_metadata(metadata),
        )

    def sha256(self, dataset: str) -> str:
        """Return a digest of the request; `dataset` identifies the data set."""
        wanted = [dataset, self.name, self.config, self.class_names]
        wanted += [self.metadata] if self.metadata else []
        text = json.dumps(wanted, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def checked_name(name: str | None) -> str | None:
    """Return the name stripped of whitespace, or None if empty. Raises Unprocessable."""
    if name is not None and not is_clean(name):
        raise invalid_field("name", "invalid_name", "must not contain control characters")
    return (name or "").strip() or None


def checked_config(values: dict[str, Any], local_backbones: Sequence[str]) -> dict[str, Any]:
    """Return all settings with defaults. Raises Unprocessable.

    `local_backbones` are the only paths allowed as a backbone.
    """
    if len(values) > _MAX_SETTINGS or any(len(key) > _MAX_SETTINGS for key in values):
        raise invalid_field(
            "config",
            "invalid_config",
            f"too many settings, or a name longer than {_MAX_SETTINGS} characters",
        )
    for key, value in values.items():
        if not is_clean(key) or (isinstance(value, str) and not is_clean(value)):
            raise invalid_field(ascii(key), "invalid_config", "contains control characters")
    try:
        config = TuneConfig.parse(values)
    except ConfigError as error:
        raise Unprocessable(error.message, code=error.code, errors=_items(error)) from error
    check_backbone(config, local_backbones)
    return config.model_dump(mode="json")


def config_after(
    job: Job, changes: Mapping[str, Any], local_backbones: Sequence[str]
) -> dict[str, Any]:
    """Return the requested settings of `job` with changes, checked. Raises Unprocessable."""
    before = job.requested_config or job.config
    known = {name: value for name, value in before.items() if name in TuneConfig.model_fields}
    return checked_config({**known, **changes}, local_backbones)


def _items(error: ConfigError) -> list[ProblemItem]:
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return [ProblemItem(param=error.param, code=error.code, message=error.message)]
    return [
        ProblemItem(
            param=".".join(str(part) for part in item["loc"]) or "config",
            code="unknown_setting" if item["type"] == "extra_forbidden" else "invalid_setting",
            message=explain(item),
        )
        for item in cause.errors(include_url=False)
    ]


def _class_names(text: str | None) -> dict[str, str] | None:
    values = _object("class_names", text)
    if values is None:
        return None
    wrong = (
        [] if len(values) <= Limits.max_classes else [f"more than {Limits.max_classes:,} classes"]
    )
    for folder, words in values.items():
        if why := _wrong_words(folder, words):
            wrong.append(f"{printable(folder)!r}: {why}")
    if wrong:
        message = listed(wrong, _SHOWN, str, separator="; ")
        raise invalid_field("class_names", "invalid_class_names", message)
    return values


def _wrong_words(folder: str, words: object) -> str | None:
    if not isinstance(words, str) or not words.strip():
        return "must be a non-empty string"
    if max(len(folder), len(words)) > MAX_CHARACTERS:
        return f"longer than {MAX_CHARACTERS} characters"
    if hidden := find_invisible(folder) or find_invisible(words):
        return f"contains {hidden}"
    return None


def _object(param: str, text: str | None) -> dict[str, Any] | None:
    if text is None or not text.strip():
        return None
    try:
        values = strict_json.loads(text)
    except ValueError as error:
        raise invalid_field(param, "invalid_json", f"invalid JSON: {error}") from error
    if not isinstance(values, dict):
        raise invalid_field(param, "invalid_json", 'must be a JSON object such as {"key": "value"}')
    return values
