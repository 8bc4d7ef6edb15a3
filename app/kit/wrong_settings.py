"""What is wrong with the settings in the environment, in sentences that name the variable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from app.kit.secret_files import SecretFileError
from dspt.kit.text import without_prefix


def wrong_settings(kind: type[BaseSettings]) -> Iterator[tuple[str, str]]:
    """Yield variable and message of each invalid value."""
    try:
        kind()
    except ValidationError as error:
        for problem in error.errors():
            field, *within = problem["loc"]
            message = without_prefix(problem["msg"])
            if problem["type"] == "string_pattern_mismatch" and not within:
                message = f"invalid. {kind.model_fields[str(field)].description}"
            elif within:
                message = f"{_path(within)}: {message}"
            yield _variable(kind, str(field)), message
    except SecretFileError as error:
        name, _, message = str(error).partition(": ")
        yield name, message
    except SettingsError as error:
        # A list that is no JSON. The error names the field in a sentence.
        field = next(name for name in kind.model_fields if f'"{name}"' in str(error))
        reason = f": {error.__cause__}" if error.__cause__ else ""
        message = f"invalid JSON{reason}. {kind.model_fields[field].description}"
        yield _variable(kind, field), message


def _variable(kind: type[BaseSettings], field: str) -> str:
    return f"{kind.model_config['env_prefix']}{field}".upper()


def _path(within: Sequence[int | str]) -> str:
    """Return `[0].backbones` for `(0, "backbones")`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in within)
    return "".join(parts).removeprefix(".")
