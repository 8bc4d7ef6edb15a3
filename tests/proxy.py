"""A TCP proxy in front of a real service, which can stop forwarding."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards connections on a loopback port; while frozen it accepts and answers nothing."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self._lock = threading.Lock()
        self._closed = False
        self.port: int = self._listener.getsockname()[1]
        self._run(self._accept)

    def freeze(self) -> None:
        """Keep all connections open, and forward no byte any more."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Forward again, also what was held back."""
        self._flowing.set()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.thaw()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            client = self._kept(self._listener.accept()[0])
            self._flowing.wait()
            server = self._kept(self._connect())
            self._run(lambda a=client, b=server: self._pump(a, b))
            self._run(lambda a=client, b=server: self._pump(b, a))

    def _kept(self, opened: socket.socket) -> socket.socket:
        """Remember a socket, to be closed with the proxy. Raises OSError if that is closed."""
        with self._lock:
            if self._closed:
                opened.close()
                raise OSError("closed")
            self._sockets.append(opened)
        return opened

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65536):
            self._flowing.wait()
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    @staticmethod
    def _run(work: Callable[[], None]) -> None:
        def run() -> None:
            with suppress(OSError):  # one end, or the proxy, has closed
                work()

        threading.Thread(target=run, daemon=True).start()


@contextmanager
def proxy_to_port(port: int) -> Iterator[Proxy]:
    """A proxy to a service on loopback."""
    yield from _opened(lambda: socket.create_connection(("127.0.0.1", port)))


@contextmanager
def proxy_to_file(path: str) -> Iterator[Proxy]:
    """A proxy to a service on a unix socket."""

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        return connection

    yield from _opened(connect)


def _opened(connect: Callable[[], socket.socket]) -> Iterator[Proxy]:
    proxy = Proxy(connect)
    try:
        yield proxy
    finally:
        proxy.close()
