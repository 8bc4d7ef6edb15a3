"""Messages of which Redis did not confirm that they are done."""

from __future__ import annotations

from celery.worker.request import Request


class Acknowledged(Request):  # type: ignore[misc]
    """A message counts as done in this process, even if Redis was silent when it was to hear so.

    Celery logs that error and goes on. Kombu would still count the message as one that is worked
    on, and as a worker has one at a time, it would never take another. Redis delivers the message
    again after the visibility timeout; it is a doorbell, and the database says what is next.
    """

    def acknowledge(self) -> None:
        super().acknowledge()
        qos, tag = self.message.channel.qos, self.message.delivery_tag
        if tag in qos._delivered and tag not in qos._dirty:
            qos._dirty.add(tag)
