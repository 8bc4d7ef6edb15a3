"""A TCP proxy in front of a real service, which can stop forwarding."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards connections to `host`; while frozen it accepts and answers nothing.

    Where `connect` raises OSError, the connection that waits for it is closed.
    """

    def __init__(self, connect: Callable[[], socket.socket], host: str = "127.0.0.1") -> None:
        self._connect = connect
        self._flowing = threading.Event()
        self._flowing.set()
        self._listener = socket.create_server((host, 0))
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
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            self._kept(server)
            self._run(lambda a=client, b=server: self._forward(a, b))

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Forward both ways until both have ended."""
        back = self._run(lambda: self._pump(server, client))
        try:
            self._pump(client, server)
        finally:
            back.join()
            with self._lock:
                for each in (client, server):
                    each.close()
                    if not self._closed:
                        self._sockets.remove(each)

    def _kept(self, opened: socket.socket) -> socket.socket:
        """Remember a socket, to be closed with the proxy. Raises OSError if that is closed."""
        with self._lock:
            if self._closed:
                opened.close()
                raise OSError("closed")
            self._sockets.append(opened)
        return opened

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._flowing.wait()
                target.sendall(data)
        finally:
            target.shutdown(socket.SHUT_WR)

    @staticmethod
    def _run(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            with suppress(OSError):  # one end, or the proxy, has closed
                work()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread


@contextmanager
def proxy_to_port(port: int, host: str = "127.0.0.1") -> Iterator[Proxy]:
    """A proxy to a service on loopback."""
    with proxy(lambda: socket.create_connection(("127.0.0.1", port)), host) as opened:
        yield opened


@contextmanager
def proxy_to_file(path: str, host: str = "127.0.0.1") -> Iterator[Proxy]:
    """A proxy to a service on a unix socket."""

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        return connection

    with proxy(connect, host) as opened:
        yield opened


@contextmanager
def proxy(connect: Callable[[], socket.socket], host: str = "127.0.0.1") -> Iterator[Proxy]:
    """A proxy to what `connect` connects to; closed at the end."""
    opened = Proxy(connect, host)
    try:
        yield opened
    finally:
        opened.close()
