"""Settings with a secret can come from files: DSPT_DATABASE_URL_FILE instead of DSPT_DATABASE_URL.

Docker and Kubernetes mount secrets as files. Unlike an environment variable, a file is not visible
in `docker inspect`, nor to child processes and crash reports.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

#: Marks a setting: Field(json_schema_extra=SECRET).
SECRET: JsonDict = {"secret": True}  # a mark, no password  # nosec B105
SUFFIX = "_file"


class SettingsWithSecrets(BaseSettings):
    """Base of settings of which some contain secrets, marked with SECRET."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, _SecretFiles(settings_cls), env_settings)


def is_secret(field: FieldInfo) -> bool:
    """Return whether a setting contains a secret."""
    return field.json_schema_extra == SECRET


class _SecretFiles(EnvSettingsSource):
    """Reads the files. Raises ValueError, which names the variable."""

    def __call__(self) -> dict[str, Any]:
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            variable = f"{self.env_prefix}{name}"
            path = self.env_vars.get((variable + SUFFIX).lower()) if is_secret(field) else None
            if path:
                found[name] = self._read(variable.upper(), path)
        return found

    def _read(self, variable: str, path: str) -> str:
        given = variable + SUFFIX.upper()
        if self.env_vars.get(variable.lower()):
            raise SecretFileError(f"{given}: {variable} is set as well; set only one of them")
        try:
            text = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a text file"
            raise SecretFileError(f"{given}: cannot read {path}: {reason}") from error
        if not text:
            raise SecretFileError(f"{given}: {path} is empty")
        return text


class SecretFileError(ValueError):
    """The file of a secret setting cannot be used. The message starts with the variable."""
