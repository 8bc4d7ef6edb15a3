"""Which settings are set, and which are only meant to be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from app.doctor.findings import Finding, State

_PART = "settings"
_PREFIX = "DSPT_"
#: Read by the client and its commands.
_OF_THE_CLIENT = ("DSPT_URL", "DSPT_API_KEY")
_SECRET = re.compile(r"KEY|PASSWORD|SECRET|TOKEN")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s]*):[^@\s]*@")


def look(environment: Mapping[str, str]) -> Iterator[Finding]:
    """All variables that begin with DSPT_."""
    kinds = list(kinds_of_settings())
    known = {*_OF_THE_CLIENT, *(name for kind in kinds for name in _names(kind))}
    given = {n.upper(): value for n, value in environment.items() if n.upper().startswith(_PREFIX)}
    wrong = {name: message for kind in kinds for name, message in _wrong(kind)}
    for name, value in sorted(given.items()):
        if name in wrong:
            found = f"{shown(name, value)}: {wrong[name]}"
            mend = "docs/reference/settings.md says what it may be"
            yield Finding(_PART, name, State.FAIL, found, mend)
        elif name not in known:
            close = get_close_matches(name[len(_PREFIX) :], [n[len(_PREFIX) :] for n in known], 1)
            mend = f"did you mean {_PREFIX}{close[0]}?" if close else "nothing reads it"
            yield Finding(_PART, name, State.WARN, "no setting has this name", mend)
        elif value:
            yield Finding(_PART, name, State.OK, shown(name, value))
    if not given:
        yield Finding(_PART, _PREFIX + "...", State.OK, "none is set: the defaults hold")


def shown(name: str, value: str) -> str:
    """A value without what is secret in it."""
    if _SECRET.search(name):
        return "***"
    return _PASSWORD_IN_URL.sub(r"\1:***@", value)


def kinds_of_settings(base: type[BaseSettings] = BaseSettings) -> Iterator[type[BaseSettings]]:
    """Every class of settings that what is imported so far has defined."""
    for kind in base.__subclasses__():
        yield from kinds_of_settings(kind)
        if kind.__module__.split(".")[0] in ("app", "worker"):
            yield kind


def _names(kind: type[BaseSettings]) -> list[str]:
    prefix = kind.model_config["env_prefix"]
    return [prefix + name.upper() for name in kind.model_fields]


def _wrong(kind: type[BaseSettings]) -> Iterator[tuple[str, str]]:
    """Name and message of each value that this kind of settings refuses."""
    try:
        kind()
    except ValidationError as error:
        for problem in error.errors():
            yield f"{kind.model_config['env_prefix']}{problem['loc'][0]}".upper(), problem["msg"]
    except ValueError as error:  # JSON that is none
        field = next((n for n in _names(kind) if n.split(_PREFIX)[1].lower() in str(error)), "")
        yield field, str(error)
