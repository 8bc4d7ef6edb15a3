"""docs/reference/settings.md: every variable with the prefix DSPT_."""

from __future__ import annotations

from pydantic.fields import FieldInfo

from app.doctor.variables import KINDS
from app.kit.secret_files import is_secret
from scripts.reference.markdown import code, paragraphs, table


def page() -> str:
    parts = [
        "# Settings",
        "Environment variables; an empty one counts as not set. `dspt doctor` shows which are set, "
        "and names those that no part of the service reads.",
        "The client and its commands read `DSPT_URL` (the address of the service, "
        "`http://127.0.0.1:8000` by default) and `DSPT_API_KEY`, or `DSPT_API_KEY_FILE`.",
        "Settings marked *secret* can come from a file instead: `DSPT_DATABASE_URL_FILE=/run/"
        "secrets/database_url`. White space around its content is ignored.",
    ]
    for kind in sorted(KINDS, key=lambda k: k.model_config["env_prefix"]):
        prefix = kind.model_config["env_prefix"]
        parts += [f"## {prefix}...", paragraphs(kind.__doc__)]
        rows = [
            (code(prefix + name.upper()), _default(field), _meaning(field))
            for name, field in kind.model_fields.items()
        ]
        parts.append(table(("variable", "default", "meaning"), rows))
    return "\n\n".join(part for part in parts if part)


def _meaning(field: FieldInfo) -> str:
    return f"{field.description or ''}{' *Secret.*' if is_secret(field) else ''}"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "the platform's"
    return "" if field.default in (None, "") else code(field.default)
