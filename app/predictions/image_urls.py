"""Fetch images by URL, only from hosts that the operator allows."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from anyio import CapacityLimiter, to_thread

from app.kit.outgoing import OutgoingError, check_url, send

#: Of one image.
_SECONDS = 10.0
#: Images that are fetched at the same time, for all requests. Each takes a thread.
_AT_ONCE = 16


class ImageUrls:
    """`fetch` returns an image. For one event loop."""

    def __init__(self, hosts: Collection[str], private_hosts: Collection[str]) -> None:
        self._hosts = hosts
        self._private_hosts = private_hosts
        self._limiter = CapacityLimiter(_AT_ONCE)

    async def fetch(self, url: str, most_bytes: int) -> bytes:
        """Return the content of an allowed URL. Raises OutgoingError."""
        if not self._hosts:
            raise OutgoingError(
                "this service fetches no images by URL; send base64. The operator can allow hosts "
                "by DSPT_PREDICT_URL_HOSTS"
            )
        host = check_url(url, self._private_hosts).hostname
        if host not in self._hosts:
            raise OutgoingError(f"{host} is not one of the hosts in DSPT_PREDICT_URL_HOSTS")
        get = partial(
            send,
            "GET",
            url,
            private_hosts=self._private_hosts,
            seconds=_SECONDS,
            headers={"Accept": "image/*"},
            most_bytes=max(1, most_bytes),
        )
        answer = await to_thread.run_sync(get, limiter=self._limiter, abandon_on_cancel=True)
        if answer.status != 200:
            raise OutgoingError(
                f"{host} answered {answer.status}, not 200; redirects are not followed"
            )
        return answer.content
