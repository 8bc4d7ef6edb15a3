"""docs/reference/api.md: every HTTP call, from the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.reference.markdown import code, paragraphs, table

Json = dict[str, Any]
_PROBLEM = "application/problem+json"


def page() -> str:
    from app.kit.settings import Settings
    from app.main import create_app

    document = create_app(Settings(data_dir=Path("data"))).openapi()
    schemas: Json = document["components"]["schemas"]
    parts = [
        "# HTTP API",
        "A running service shows the same at `/docs`, and as OpenAPI at `/openapi.json`. Times are "
        "RFC 3339 in UTC, ids are opaque. Where there are keys, each call needs "
        "`Authorization: Bearer KEY`. Errors are problem documents (RFC 9457): `code` is stable "
        "and for programs (see [errors](errors.md)), `detail` says how to fix it, `errors` names "
        "each field at fault.",
    ]
    by_tag: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            text = "\n\n".join(part for part in _call(method, path, call, schemas) if part)
            by_tag.setdefault(call.get("tags", ["other"])[0], []).append(text)
    for tag, calls in by_tag.items():
        parts += [f"## {tag.capitalize()}", *calls]
    parts.append("## Answers")
    for name in sorted(schemas):
        if not name.startswith(("Body_", "HTTPValidation", "Validation")):
            parts += [f"### {name}", *_schema(schemas[name])]
    return "\n\n".join(part for part in parts if part)


def _call(method: str, path: str, call: Json, schemas: Json) -> Iterator[str]:
    yield f"### {method.upper()} {path}"
    yield paragraphs(call.get("description"))
    rows = [
        (code(p["name"]), p["in"], _type(p["schema"]), _about(p | p["schema"], p.get("required")))
        for p in call.get("parameters", ())
        if p["name"].lower() != "authorization"
    ]
    for kind, media in call.get("requestBody", {}).get("content", {}).items():
        body = _resolved(media.get("schema", {}), schemas)
        for name, field in body.get("properties", {}).items():
            about = _about(field, name in body.get("required", ()))
            rows.append((code(name), kind.split("/")[-1], _type(field), about))
        if not body.get("properties"):
            rows.append(("body", kind, "", body.get("description", "")))
    yield table(("", "in", "type", "meaning"), rows)
    answers, problems = [], []
    for status, answer in sorted(call["responses"].items()):
        content = answer.get("content", {})
        if _PROBLEM in content:
            problems.append(status)
            continue
        kinds = [
            _type(media["schema"]) if kind == "application/json" else code(kind)
            for kind, media in content.items()
        ]
        about = answer.get("description", "").removeprefix("Successful Response")
        answers.append((status, ", ".join(kinds), about))
    yield table(("status", "answer", ""), answers)
    if problems:
        yield f"Problems: {', '.join(problems)}."


def _schema(schema: Json) -> Iterator[str]:
    yield paragraphs(schema.get("description"))
    if "enum" in schema:
        yield "One of " + ", ".join(code(value) for value in schema["enum"]) + "."
    rows = [
        (code(name), _type(field), _about(field, None))
        for name, field in schema.get("properties", {}).items()
    ]
    yield table(("field", "type", "meaning"), rows)


def _resolved(schema: Json, schemas: Json) -> Json:
    reference = schema.get("$ref")
    resolved: Json = schemas[reference.rsplit("/", 1)[-1]] if reference else schema
    return resolved


def _type(schema: Json) -> str:
    if reference := schema.get("$ref"):
        name = reference.rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return code(schema["const"])
    if "enum" in schema:
        return " or ".join(code(value) for value in schema["enum"])
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if schema.get("format") == "binary" or schema.get("contentMediaType"):
        return "file"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return kind


def _about(field: Json, required: bool | None) -> str:
    parts = [str(field.get("description", "")).strip()]
    if required:
        parts.append("Required.")
    elif field.get("default") not in (None, [], {}, "") and "const" not in field:
        parts.append(f"Default: {code(field['default'])}.")
    return " ".join(part for part in parts if part)
