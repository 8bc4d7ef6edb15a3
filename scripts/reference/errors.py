"""docs/reference/errors.md: every code of a problem document."""

from __future__ import annotations

from scripts.reference.markdown import code, table


def page() -> str:
    from app.kit.http.error_types import ERROR_TYPES

    rows = [
        (code(name), " or ".join(map(str, kind.statuses)), kind.meaning, kind.fix)
        for name, kind in sorted(ERROR_TYPES.items())
    ]
    parts = [
        "# Errors",
        "An error is a problem document (RFC 9457). Its `code` is stable; `type` is the address of "
        "a page about the code, which the service itself serves: `/errors/CODE`. Retry only 408, "
        "429 and 503. For invalid corrections `code` is that of the first problem in `errors`, and "
        "`type` is `/errors/invalid_corrections`.",
        table(("code", "status", "meaning", "what to do"), rows),
    ]
    return "\n\n".join(parts)
