"""The model that a request for predictions names, as far as it is seen before it is parsed.

It only decides which process gets the request. One whose model is not seen goes to any.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.types import Scope

from app.predictions.bodies import is_json

_PATH = re.compile(r"/models/([^/]+)/(?:predict|classes)$")
#: At most three further headers of the field: it is searched for before the key is checked, so the
#: time must be linear in the size.
_FIELD = re.compile(rb'name="model"\r\n(?:[^\r\n]{1,200}\r\n){0,3}\r\n([^\r\n]{1,100})\r\n')
_JSON = re.compile(rb'"(?:model|a)"\s*:\s*"([^"\\]{1,100})"')


def model_of(scope: Scope, begin: bytes) -> str | None:
    """Return the id or alias of the model, given the beginning of the body; None: not seen."""
    if found := _PATH.search(scope["path"]):
        return found[1]
    kind = Headers(scope=scope).get("content-type", "")
    if is_json(kind):
        seen = _JSON.search(begin)
    elif kind.lower().startswith("multipart/"):
        seen = _FIELD.search(begin)
    else:
        return None
    return None if seen is None else seen[1].decode(errors="replace")
