"""Hosts on one machine: network namespaces, joined by a bridge in a namespace of its own.

A namespace has no name: it exists as long as the process that holds it. When that process ends, in
whichever way, the kernel deletes the namespace with its interfaces.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.services import wait_until

_PROGRAMS = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}
_BRIDGE = "switch"


def missing() -> str | None:
    """Return what this machine lacks for namespaces, in words; None if it has all."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program, package in _PROGRAMS.items():
        if shutil.which(program) is None:
            return f"`{program}` is not installed ({package})"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True)
    if tried.returncode:
        return f"network namespaces are not allowed here: {tried.stderr.strip()}"
    return None


class Network:
    """A bridge, and an address of this machine on it at which its services are reached."""

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        self._switch = self._held()
        _run("ip", "link", "add", _BRIDGE, "type", "bridge", inside=self._switch)
        _run("ip", "link", "set", _BRIDGE, "up", inside=self._switch)
        self._subnet = self._join_this_machine()
        self._hosts = 0

    @property
    def address(self) -> str:
        return f"{self._subnet}.1"

    def host(self, name: str) -> Host:
        """Add a host, with an address and a loopback interface of its own."""
        self._hosts += 1
        address, holder = f"{self._subnet}.{9 + self._hosts}", self._held()
        ends = ["netns", str(self._switch), "type", "veth", "peer", "eth0", "netns", str(holder)]
        _run("ip", "link", "add", name, *ends)
        _run("ip", "link", "set", name, "master", _BRIDGE, "up", inside=self._switch)
        _run("ip", "link", "set", "lo", "up", inside=holder)
        _run("ip", "address", "add", f"{address}/24", "dev", "eth0", inside=holder)
        _run("ip", "link", "set", "eth0", "up", inside=holder)
        return Host(name, address, f"/proc/{holder}/ns/net", self._switch)

    def _join_this_machine(self) -> str:
        """Connect this machine; return the first three parts of the addresses.

        The interface disappears with the bridge. Addresses are those reserved for benchmarks
        (RFC 2544), of which other networks on this machine may use some.
        """
        for number in random.sample(range(256), 256):
            name, subnet = f"dspt{number}", f"198.18.{number}"
            peer = ["type", "veth", "peer", "outside", "netns", str(self._switch)]
            if subprocess.run(["ip", "link", "add", name, *peer], capture_output=True).returncode:
                continue  # the name is in use
            _run("ip", "link", "set", "outside", "master", _BRIDGE, "up", inside=self._switch)
            _run("ip", "address", "add", f"{subnet}.1/24", "dev", name)
            _run("ip", "link", "set", name, "up")
            return subnet
        raise OSError("no network 198.18.0.0/24 to 198.18.255.0/24 is free")

    def _held(self) -> int:
        """Start a process in a new namespace; return its id. It ends with this process."""
        launch = [sys.executable, "-P", "-m", "app.serve.launch", str(os.getpid()), "0"]
        process = subprocess.Popen([*launch, "unshare", "--net", "sleep", "infinity"])
        self._cleanup.callback(process.wait)
        self._cleanup.callback(process.kill)
        own = Path("/proc/self/ns/net").readlink()

        def moved() -> bool:
            assert process.poll() is None, "the holder of a namespace has ended"
            return Path(f"/proc/{process.pid}/ns/net").readlink() != own

        wait_until(moved, 60, "a network namespace")
        return process.pid


@dataclass(frozen=True)
class Host:
    """One host: a process that joins its namespace has its address."""

    name: str
    address: str
    namespace: str
    """The file of its namespace."""
    _switch: int

    def connect(self, *, up: bool) -> None:
        """Plug its cable into the bridge, or pull it: packets get lost, connections stay open."""
        _run("ip", "link", "set", self.name, "up" if up else "down", inside=self._switch)


def _run(*command: str, inside: int | None = None) -> None:
    """Run a command, in the namespace of process `inside` if given."""
    enter = [] if inside is None else ["nsenter", f"--target={inside}", "--net"]
    result = subprocess.run([*enter, *command], capture_output=True, text=True)
    if result.returncode:
        raise OSError(f"`{' '.join(command)}`: {result.stderr.strip()}")
