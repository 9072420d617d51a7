"""IPAM calls on a real socket, as an engine of any version does them."""

import json
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.e2e.bed import PLUGIN_DIR, RUN_DIR, Bed

TIMEOUT_S = 30.0

GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}

NAME = "com.docker.network.endpoint.name"
"""In the options of RequestAddress, from engine 29 on."""


class Wire:
    """A caller of one IPAM driver."""

    def __init__(self, bed: Bed, driver: str = "ovsipam") -> None:
        self._bed = bed
        self._driver = driver

    def call(self, name: str, body: object = None) -> dict[str, Any]:
        """Do a call and return its answer; ``None``: with an empty body."""
        socket_path = self._bed.outer_path(f"{PLUGIN_DIR}/{self._driver}.sock")
        text = b"" if body is None else json.dumps(body).encode()
        found: dict[str, Any] = answer(socket_path, "POST", f"/{name}", text)
        return found

    def spaces(self) -> tuple[str, str]:
        """Return the default address spaces, local and global."""
        answer = self.call("IpamDriver.GetDefaultAddressSpaces")
        return answer["LocalDefaultAddressSpace"], answer["GlobalDefaultAddressSpace"]

    def request_pool(
        self, subnet: str = "", *, space: str = "", window: str = "", **options: str
    ) -> dict[str, Any]:
        """RequestPool; the options are those of ``ipam.``."""
        return self.call(
            "IpamDriver.RequestPool",
            {
                "AddressSpace": space or self.spaces()[0],
                "Pool": subnet,
                "SubPool": window,
                "Options": {f"ipam.{key}": value for key, value in options.items()},
                "V6": ":" in subnet,
            },
        )

    def pool(self, subnet: str = "", **how: str) -> str:
        """RequestPool, which must succeed; return the pool's id."""
        answer = self.request_pool(subnet, **how)
        assert "PoolID" in answer, answer
        return str(answer["PoolID"])

    def request_address(
        self, pool: str, wanted: str = "", *, name: str = "", gateway: bool = False
    ) -> dict[str, Any]:
        """RequestAddress."""
        options = GATEWAY if gateway else {NAME: name} if name else None
        body = {"PoolID": pool, "Address": wanted, "Options": options}
        return self.call("IpamDriver.RequestAddress", body)

    def address(self, pool: str, wanted: str = "", *, name: str = "", gateway: bool = False) -> str:
        """RequestAddress, which must succeed; return the address without prefix length."""
        answer = self.request_address(pool, wanted, name=name, gateway=gateway)
        assert "Address" in answer, answer
        return str(answer["Address"]).partition("/")[0]

    def refusal(self, pool: str, wanted: str = "", *, name: str = "") -> str:
        """RequestAddress, which must fail; return the sentence."""
        answer = self.request_address(pool, wanted, name=name)
        assert "Address" not in answer
        assert answer["Error"] == answer["Err"]
        return str(answer["Error"])

    def release_address(self, pool: str, address: str) -> dict[str, Any]:
        """ReleaseAddress."""
        return self.call("IpamDriver.ReleaseAddress", {"PoolID": pool, "Address": address})

    def release_pool(self, pool: str) -> dict[str, Any]:
        """ReleasePool."""
        return self.call("IpamDriver.ReleasePool", {"PoolID": pool})


def pools(bed: Bed) -> list[dict[str, Any]]:
    """Return what ``ovsnet ipam pools --json`` prints, without starting a program."""
    listed: list[dict[str, Any]] = ask(bed, "list-pools")
    return listed


def leases(bed: Bed, pool: str) -> list[dict[str, Any]]:
    """Return what ``ovsnet ipam leases --json`` prints of a pool, at most a page of it."""
    listed: list[dict[str, Any]] = ask(bed, "list-leases", pool=pool)["leases"]
    return listed


def ask(bed: Bed, word: str, **said: object) -> Any:
    """Ask the process, as the command line does."""
    body = json.dumps(said).encode()
    return answer(bed.outer_path(f"{RUN_DIR}/admin.sock"), "POST", f"/ask/{word}", body)


def answer(path: Path, method: str, target: str, body: bytes | None = None) -> Any:
    """Ask on a unix socket and return the JSON of the answer, whatever its status."""
    connection = _Connection(path)
    try:
        connection.request(method, target, body)
        return json.load(connection.getresponse())
    finally:
        connection.close()


class _Connection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("plugin.moby.localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
