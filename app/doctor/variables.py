"""The settings in the environment, and misspelt ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from itertools import chain

from pydantic_settings import BaseSettings

from app.doctor.findings import Finding, State
from app.kit.secret_files import SUFFIX, is_secret
from app.kit.settings import Settings
from app.kit.wrong_settings import wrong_settings
from app.predictions.settings import PredictionSettings
from dspt.errors import UnknownBackbone

#: All settings classes of the service. Importing them is cheap, unlike importing the service.
KINDS: tuple[type[BaseSettings], ...] = (Settings, PredictionSettings)
_PART = "settings"
_PREFIX = "DSPT_"
#: Read by the client and the commands that use it.
_OF_THE_CLIENT = ("DSPT_URL", "DSPT_API_KEY", "DSPT_API_KEY_FILE")
_SECRET = re.compile(r"KEY|PASSWORD|SECRET|TOKEN")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s]*):[^@\s]*@")


def look(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Check all variables that begin with DSPT_."""
    known = known_variables()
    given = {n.upper(): value for n, value in environment.items() if n.upper().startswith(_PREFIX)}
    wrong: dict[str, str] = {}
    for name, message in chain.from_iterable(map(wrong_settings, KINDS)):
        wrong[name] = f"{wrong[name]}; {message}" if name in wrong else message
    for name, message in _unknown_backbones():
        wrong.setdefault(name, message)
    for name, value in sorted(given.items()):
        if name in wrong:
            found = f"{shown(name, value)}: {wrong[name]}"
            fix = "see docs/reference/settings.md for the allowed values"
            yield Finding(_PART, name, State.FAIL, found, fix)
        elif name not in known:
            close = get_close_matches(name[len(_PREFIX) :], [n[len(_PREFIX) :] for n in known], 1)
            fix = f"did you mean {_PREFIX}{close[0]}?" if close else "it is not used"
            yield Finding(_PART, name, State.WARN, "unknown setting", fix)
        elif value:
            yield Finding(_PART, name, State.OK, shown(name, value))
    if not given:
        yield Finding(_PART, _PREFIX + "...", State.OK, "none is set; the defaults apply")


def _unknown_backbones() -> Iterator[tuple[str, str]]:
    """Yield variable and message of each name that no backbone has. Imports no torch."""
    from dspt.backbones.architectures import check_name

    for variable, names, is_place_allowed in _named_backbones():
        for name in names:
            if ":" in name or "@" in name:  # a folder, or a file
                if not is_place_allowed(name):
                    yield variable, f"{name} is not in DSPT_LOCAL_BACKBONES, so no job can use it"
                continue
            try:
                check_name(name)
            except UnknownBackbone as error:
                yield variable, error.message


def _named_backbones() -> Iterator[tuple[str, list[str], Callable[[str], bool]]]:
    """Yield variable, its backbones, and a function: is this folder or file allowed?

    Invalid settings are skipped.
    """
    with suppress(ValueError):
        settings = Settings()
        lists = [pool.backbones for pool in settings.pools if pool.backbones != "*"]
        allowed = settings.local_backbones.__contains__
        yield "DSPT_POOLS", [name for names in lists for name in names], allowed
    with suppress(ValueError):
        yield "DSPT_PREDICT_WARM_UP", PredictionSettings().warm_ups, lambda _: True


def known_variables() -> set[str]:
    """Return the names of all variables with a meaning that begin with DSPT_."""
    return {*_OF_THE_CLIENT, *(name for kind in KINDS for name in _names(kind))}


def shown(name: str, value: str) -> str:
    """Return `value` without secrets."""
    if _SECRET.search(name) and not name.endswith("_FILE"):
        return "***"
    return _PASSWORD_IN_URL.sub(r"\1:***@", value)


def _names(kind: type[BaseSettings]) -> list[str]:
    prefix = kind.model_config["env_prefix"]
    secret = [name for name, field in kind.model_fields.items() if is_secret(field)]
    names = [*kind.model_fields, *(name + SUFFIX for name in secret)]
    return [prefix + name.upper() for name in names]
