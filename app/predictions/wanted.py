"""The model that a request for predictions names, as far as it is seen before it is parsed.

It only decides which process gets the request. One whose model is not seen goes to any.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import Scope

from app.predictions.bodies import is_json

_PATH = re.compile(r"/models/([^/]+)/(?:predict|classes)$")
_FIELD = re.compile(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]{1,100})\r\n')
_JSON = re.compile(rb'"(?:model|a)"\s*:\s*"([^"\\]{1,100})"')


def model_of(scope: Scope, begin: bytes) -> str | None:
    """Return the id or alias of the model, given the beginning of the body; None: not seen."""
    if found := _PATH.search(scope["path"]):
        return found[1]
    kind = Headers(scope=scope).get("content-type", "")
    seen = (_JSON if is_json(kind) else _FIELD).search(begin)
    return None if seen is None else seen[1].decode(errors="replace")
