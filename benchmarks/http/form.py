"""Forms with files (RFC 7578), in the form in which they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_BOUNDARY = "dspt-form-5d1f6c0b8f2e4a53"
HEADERS: Mapping[str, str] = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
END = f"--{_BOUNDARY}--\r\n".encode()


def field(name: str, text: str) -> bytes:
    """A field of the form."""
    return _part(f'name="{name}"', text.encode())


def file(name: str, filename: str, content: bytes) -> bytes:
    """A file of the form."""
    return _part(f'name="{name}"; filename="{filename}"', content)


def body(parts: Iterable[bytes]) -> bytes:
    """The whole, of what `field` and `file` gave."""
    return b"".join([*parts, END])


def _part(disposition: str, content: bytes) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"
