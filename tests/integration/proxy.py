"""A reverse proxy that forwards bytes and adds nothing: proxy.py HOST TARGET_PORT USER [fork].

It prints its port. It runs as the user with the id USER, which takes root. With
`fork`, each connection gets a process that closes the listening socket.
"""

import encodings.idna  # noqa: F401  connecting needs it, and another user may not read it
import os
import shutil
import socket
import sys
import threading


def forward(accepted: socket.socket, port: int) -> None:
    """Connect to the target and pass on what each side sends, until both have ended."""
    with accepted, socket.create_connection(("127.0.0.1", port)) as target:
        up = threading.Thread(target=_copy, args=(accepted, target))
        up.start()
        _copy(target, accepted)
        up.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with source.makefile("rb", buffering=0) as read, target.makefile("wb", buffering=0) as write:
        shutil.copyfileobj(read, write)
    target.shutdown(socket.SHUT_WR)


def main() -> None:
    host, port, user, *fork = sys.argv[1:]
    if int(user) != os.getuid():
        os.setuid(int(user))
    with socket.create_server((host, 0)) as listener:
        print(listener.getsockname()[1], flush=True)  # noqa: T201
        while True:
            accepted, _ = listener.accept()
            if not fork:
                threading.Thread(target=forward, args=(accepted, int(port))).start()
            elif os.fork() == 0:
                listener.close()
                forward(accepted, int(port))
                os._exit(0)
            else:
                accepted.close()


if __name__ == "__main__":
    main()
