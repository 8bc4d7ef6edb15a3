"""Find the process at the other end of a local connection.

Without API keys, "from this machine" is not enough: a reverse proxy with default settings connects
from 127.0.0.1 without a header that says so, and its clients may be anyone. Linux knows which
user opened each socket and which process holds it, so two things are checked:

- The user that runs the service opened the connection. Proxies normally run as another user.
- The process that holds it can be inspected, and accepts no connections from other machines. A
  process that dropped its privileges, such as a worker of nginx, cannot be inspected even by a
  service of the same user.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_OVERFLOW_UID = Path("/proc/sys/kernel/overflowuid")
_LISTEN = 10
# Of linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST = 4, 20, 0x301
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBxxI48x")
_ENDS = struct.Struct("!xBxxHH16s16s")
_OWNER = struct.Struct("=24xII")

Address = tuple[str, int]
Packed = tuple[bytes, int]
"""Address and port; the address in the order of the network."""


class Peer(Enum):
    """The holder of the other end of a connection."""

    SAME_USER = auto()
    #: Another user, or unknown.
    OTHER_USER = auto()
    #: A process of the same user that accepts connections from other machines.
    SERVER = auto()


def available() -> bool:
    """Return whether this system tells who holds a connection."""
    # In a container all users that it does not know have the overflow uid.
    return _TABLES[0].is_file() and str(os.geteuid()) != _read(_OVERFLOW_UID).strip()


def identify(client: Address, server: Address) -> Peer:
    """Return who holds the client's end of a connection between two local addresses."""
    ends = (_normal(client), _normal(server))
    found = next((one for one in _sockets() if one.connects(*ends)), None)
    # Once its process has closed it, a socket has neither an inode nor its user: both are 0.
    if found is None or not found.inode or found.uid != os.geteuid() or not available():
        return Peer.OTHER_USER
    held = _sockets_beside(found.inode)
    if held is None:
        return Peer.OTHER_USER
    return Peer.SERVER if len(held) > 1 and _serves_others(held) else Peer.SAME_USER


def _serves_others(held: set[int]) -> bool:
    """Return whether one of these sockets listens for other machines, or was accepted there.

    Compared by port, because the process that accepted a connection may not listen itself.
    """
    sockets = _sockets()
    ports = {one.local[1] for one in sockets if one.state == _LISTEN and not one.on_loopback}
    return any(one.inode in held and one.local[1] in ports for one in sockets)


@dataclass(frozen=True)
class _Socket:
    local: Packed
    remote: Packed
    state: int
    uid: int
    inode: int

    @property
    def on_loopback(self) -> bool:
        return ipaddress.ip_address(_decoded(self.local)[0]).is_loopback

    def connects(self, local: Address, remote: Address) -> bool:
        if (self.local[1], self.remote[1]) != (local[1], remote[1]):
            return False  # decoding takes longer
        return (_decoded(self.local), _decoded(self.remote)) == (local, remote)


def _sockets() -> list[_Socket]:
    """Return all TCP sockets of this machine.

    From the kernel's `inet_diag`; else from files, which takes it milliseconds for each connection.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            return [*_from_kernel(socket.AF_INET), *_from_kernel(socket.AF_INET6)]
    return list(_from_files())


def _from_kernel(family: socket.AddressFamily) -> Iterator[_Socket]:
    """Yield the TCP sockets of a family. Raises OSError."""
    size = 4 if family == socket.AF_INET else 16
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as line:
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0xFFFFFFFF)  # in any state
        length = _HEADER.size + len(request)
        line.send(_HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _DUMP_REQUEST, 0, 0) + request)
        while True:
            answer = line.recv(1 << 16)
            while answer:
                length, kind, *_ = _HEADER.unpack_from(answer)
                body, answer = answer[_HEADER.size : length], answer[(length + 3) & ~3 :]
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError(-int.from_bytes(body[:4], sys.byteorder, signed=True))
                state, local_port, remote_port, local, remote = _ENDS.unpack_from(body)
                uid, inode = _OWNER.unpack_from(body, _ENDS.size)
                ends = (local[:size], local_port), (remote[:size], remote_port)
                yield _Socket(*ends, state, uid, inode)


def _from_files() -> Iterator[_Socket]:
    for table in _TABLES:
        for line in _read(table).splitlines()[1:]:
            row = line.split()
            ends = _packed(row[1]), _packed(row[2])
            yield _Socket(*ends, int(row[3], 16), int(row[7]), int(row[9]))


def _sockets_beside(inode: int) -> set[int] | None:
    """Return all sockets of the process that holds this one; None if no process can be seen.

    Starts with the newest process: a command such as curl has just started.
    """
    names = os.listdir("/proc")  # noqa: PTH208  several times as fast as pathlib
    for pid in sorted((int(name) for name in names if name.isdigit()), reverse=True):
        held = set(_socket_inodes(pid))
        if inode in held:
            return held
    return None


def _socket_inodes(pid: int) -> Iterator[int]:
    """Yield the sockets of a process; none if it has ended or must not be inspected."""
    folder = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208
            with suppress(OSError):  # closed in the meantime
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115
                if target.startswith("socket:["):
                    yield int(target[8:-1])


def _packed(address: str) -> Packed:
    """Decode the files' hexadecimal form, whose 32-bit words have the machine's byte order."""
    words, _, port = address.partition(":")
    packed = bytes.fromhex(words)
    if sys.byteorder == "little":
        packed = b"".join(packed[i : i + 4][::-1] for i in range(0, len(packed), 4))
    return packed, int(port, 16)


def _decoded(address: Packed) -> Address:
    return _normal((str(ipaddress.ip_address(address[0])), address[1]))


def _normal(address: Address) -> Address:
    """Return the address with IPv4 as such: an IPv6 socket can hold an IPv4 connection."""
    parsed = ipaddress.ip_address(address[0].partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed), address[1]


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # another system, no IPv6, or /proc is not mounted
        return ""
