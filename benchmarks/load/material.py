"""What is sent with the requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.load.connection import Client

_BOUNDARY = "dspt-load-5d1f6c0b8f2e4a53"


@dataclass(frozen=True)
class Material:
    """Photos, and how long to tune on them."""

    zip: bytes
    image: bytes
    epochs: int

    def job(self, client: Client, *, seed: int, epochs: int | None = None) -> bytes:
        """POST /jobs; another seed makes another job."""
        config = {"epochs": epochs or self.epochs, "seed": seed}
        files = {"dataset": ("photos.zip", self.zip)}
        return _post(client, "/jobs", {"config": json.dumps(config)}, files)

    def prediction(self, client: Client, model_id: str) -> bytes:
        """POST /predict."""
        return _post(client, "/predict", {"model": model_id}, {"images": ("1.jpg", self.image)})


def _post(
    client: Client, path: str, fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]
) -> bytes:
    """A form as a request; `files`: field -> (file name, content)."""
    parts = [_part(f'name="{name}"', text.encode()) for name, text in fields.items()]
    for name, (filename, content) in files.items():
        parts.append(_part(f'name="{name}"; filename="{filename}"', content))
    body = b"".join([*parts, f"--{_BOUNDARY}--\r\n".encode()])
    headers = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    return client.request("POST", path, headers, body)


def _part(disposition: str, content: bytes) -> bytes:
    head = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"
