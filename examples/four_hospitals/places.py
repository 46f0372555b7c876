"""Where the processes of the example run: side by side on loopback, or each in a network namespace of its own."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

__all__ = ["Loopback", "Namespaces", "namespaces_are_possible"]

_NETWORK = "10.213.77"


class Loopback:
    """Everybody on 127.0.0.1; the exchange listens on one port of it."""

    exchange_host = "127.0.0.1"

    def exchange_port(self) -> int:
        """One that is free."""
        with socket.create_server((self.exchange_host, 0)) as found:
            return int(found.getsockname()[1])

    def prefix(self, party: str) -> list[str]:
        """What a party's commands begin with."""
        del party
        return []

    def close(self) -> None:
        """Nothing is to be undone."""


class Namespaces:
    """Each party in a namespace; a bridge joins them to the exchange and to nobody else. Needs root.

    Args:
        exchange: Its id.
        holders: Theirs.
    """

    def __init__(self, exchange: str, holders: list[str]) -> None:
        self._tag = f"fj{os.getpid() % 100_000}"
        self._names = {party: f"{self._tag}-{number}" for number, party in enumerate([exchange, *holders], start=2)}
        self._made: list[list[str]] = []
        self.exchange_host = f"{_NETWORK}.2"
        try:
            self._make(["link", "add", f"{self._tag}b", "type", "bridge"], ["link", "del", f"{self._tag}b"])
            _ip("link", "set", f"{self._tag}b", "up")
            for party, name in self._names.items():
                self._join(name, address=f"{_NETWORK}.{name.rpartition('-')[2]}", isolated=party != exchange)
        except BaseException:
            self.close()
            raise

    @property
    def parties(self) -> list[str]:
        """The exchange, and the holders."""
        return list(self._names)

    def exchange_port(self) -> int:
        """Any: the exchange is alone in its namespace."""
        return 8443

    def _join(self, name: str, *, address: str, isolated: bool) -> None:
        self._make(["netns", "add", name], ["netns", "del", name])  # its end of the cable goes with it
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", f"{self._tag}b", "up")
        if isolated:  # isolated ports of a bridge reach the others, the exchange that is, and not each other
            subprocess.run(["bridge", "link", "set", "dev", name, "isolated", "on"], check=True)
        _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        for device in ("eth0", "lo"):
            _ip("-n", name, "link", "set", device, "up")

    def _make(self, do: list[str], undo: list[str]) -> None:
        _ip(*do)
        self._made.append(undo)

    def prefix(self, party: str) -> list[str]:
        """What a party's commands begin with."""
        return ["ip", "netns", "exec", self._names[party]]

    def close(self) -> None:
        """Remove what was made."""
        while self._made:
            _ip(*self._made.pop(), check=False)


def namespaces_are_possible() -> bool:
    """Whether this machine lets this user make namespaces and bridges."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "bridge"))) or not Path("/proc/net/tcp").exists():
        return False
    name = f"fj{os.getpid() % 100_000}-try"
    try:
        _ip("link", "add", name[:15], "type", "bridge")
        _ip("link", "del", name[:15])
        _ip("netns", "add", name)
        _ip("netns", "del", name)
    except subprocess.CalledProcessError:
        return False
    return True


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
