"""Speaking from one place of a world to another."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tests.e2e.world import World, until

WEB_PORT = 80
ECHO = str(Path(__file__).parent / "echo.py")


class Place:
    """A network namespace of a world: the host's own, the outside, or a container's."""

    def __init__(self, world: World, name: str, netns: str | None = None) -> None:
        self.world = world
        self.name = name
        self._netns = netns

    @property
    def netns(self) -> str | None:
        """Path of the namespace; None for the world's own."""
        return self._netns

    def pings(self, address: str, *, size: int = 56, count: int = 1) -> bool:
        """Whether one of ``count`` echo requests of ``size`` bytes, unfragmented, is answered."""
        said = ("ping", "-n", "-q", "-M", "do", "-s", str(size), "-c", str(count), "-W", "1")
        return self.world.attempt(*said, address, netns=self.netns).code == 0

    def asks(self, address: str, port: int = WEB_PORT) -> str:
        """Return the answer to an HTTP request over a new TCP connection; empty if none came."""
        host = f"[{address}]" if ip_address(address).version == 6 else address
        said = ("busybox", "wget", "-q", "-T", "2", "-O", "-", f"http://{host}:{port}/")
        return self.world.attempt(*said, netns=self.netns).out

    def reaches(self, address: str, who: str | None = None, port: int = WEB_PORT) -> str:
        """Assert that ping and TCP get through, and return what was answered over TCP.

        Args:
            address: the other side, without prefix length.
            who: the host name that the other side must say.
            port: where it serves.
        """
        until(lambda: self.pings(address), f"{self.name} pings {address}", timeout_s=30)
        until(lambda: self.asks(address, port), f"{self.name} asks {address}", timeout_s=30)
        answer = self.asks(address, port)
        assert who in (None, answer), f"{self.name} asked {address}: {answer!r} instead of {who!r}"
        return answer

    def never_reaches(self, address: str, port: int = WEB_PORT) -> None:
        """Assert that neither ping nor TCP gets through; both are tried at once, for 2 s."""
        with ThreadPoolExecutor(2) as pool:
            pinged = pool.submit(self.pings, address, count=2)
            answer = pool.submit(self.asks, address, port)
            assert not pinged.result(), f"{self.name} pings {address}"
            text = answer.result()
            assert not text, f"{self.name} asked {address} and {text!r} answered"

    def hears(self, protocol: str, address: str, port: int, *, source: int = 0) -> str:
        """Return what echo.py answers there, ``NAME CLIENT-ADDRESS``; empty if nothing."""
        said = ("ask", protocol, address, str(port), str(source))
        return self.world.attempt(sys.executable, ECHO, *said, netns=self.netns).out

    def sees(self, *args: str) -> Any:
        """Return what ``ip -json`` prints here."""
        return json.loads(self.world.run("ip", "-json", *args, netns=self.netns) or "[]")

    def link(self, name: str) -> Any:
        """Return a link as ``ip -json -details link`` prints it."""
        (link,) = self.sees("-details", "link", "show", name)
        return link

    def links(self) -> set[str]:
        """Return the names of all links but the loopback."""
        return {link["ifname"] for link in self.sees("link")} - {"lo"}
