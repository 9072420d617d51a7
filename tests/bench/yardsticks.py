"""Yardsticks: drivers that do as little as can be done, or do it as most do.

    python -m tests.bench.yardsticks null|direct|fork SOCKET OVSDB [timed]

``null`` makes a veth pair and nothing else: what the protocol and the kernel cost. ``direct`` plugs
it into Open vSwitch with one transaction and waits until vswitchd has it. ``fork`` does the same
with a process for each step. None of them checks, remembers or logs anything. Both kinds of calls
come to the one socket, by the standard library's server with a thread for each connection.
``timed`` says what each call took, in the words of our own log.
"""

import itertools
import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

from ovsdriver.adapters.kernel.codec import ethtool
from ovsdriver.adapters.kernel.codec.link_messages import IFF_UP, LinkChange, change_link, new_veth
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from tests.bench.links import delete

MTU = 1500

Call = Mapping[str, Any]


class Null:
    """A veth pair: made, its checksum offload off as the userspace datapath needs it, up."""

    def __init__(self) -> None:
        self._local = threading.local()

    def open(self) -> None:
        """Make what one thread needs."""
        self._local.routes = RouteSocket()

    def close(self) -> None:
        self._local.routes.close()

    def make(self, bridge: str) -> None:
        """Make what a network needs."""

    def remove(self, bridge: str) -> None:
        """Remove it."""

    def join(self, bridge: str, host: str, container: str, mac: bytes) -> None:
        routes = self._local.routes
        new_veth(routes, host, container, mtu=MTU, peer_mac=mac, group=0, flags=0)
        ethtool.set_tx_checksum(container, on=False)
        change_link(routes, host, LinkChange(set_flags=IFF_UP))

    def leave(self, bridge: str, host: str) -> None:
        with suppress(OSError):
            delete(self._local.routes, host)


class Direct(Null):
    """And a port in Open vSwitch."""

    def __init__(self, ovsdb: str) -> None:
        super().__init__()
        self._ovsdb = ovsdb
        self._numbers = itertools.count(1)

    def open(self) -> None:
        super().open()
        self._local.database = socket.socket(socket.AF_UNIX)
        self._local.database.connect(self._ovsdb)

    def close(self) -> None:
        super().close()
        self._local.database.close()

    def make(self, bridge: str) -> None:
        row = {"name": bridge, "datapath_type": "netdev", "ports": ["named-uuid", "p"]}
        made = {"op": "insert", "table": "Bridge", "uuid-name": "b", "row": row}
        root = _change("Open_vSwitch", [], "bridges", "insert", ["named-uuid", "b"])
        self._transact(*_port(bridge, kind="internal"), made, root)
        self._taken(bridge)

    def remove(self, bridge: str) -> None:
        for uuid in self._find("Bridge", bridge):
            self._transact(_change("Open_vSwitch", [], "bridges", "delete", uuid))

    def join(self, bridge: str, host: str, container: str, mac: bytes) -> None:
        super().join(bridge, host, container, mac)
        where = [["name", "==", bridge]]
        self._transact(
            *_port(host, tag=5), _change("Bridge", where, "ports", "insert", ["named-uuid", "p"])
        )
        self._taken(host)

    def leave(self, bridge: str, host: str) -> None:
        for uuid in self._find("Port", host):
            self._transact(_change("Bridge", [["name", "==", bridge]], "ports", "delete", uuid))
        super().leave(bridge, host)

    def _find(self, table: str, name: str) -> list[Any]:
        found = self._transact(
            {
                "op": "select",
                "table": table,
                "columns": ["_uuid"],
                "where": [["name", "==", name]],
            }
        )
        return [row["_uuid"] for row in found[0]["rows"]]

    def _taken(self, name: str) -> None:
        """Wait until vswitchd has the interface."""
        self._transact(
            {
                "op": "wait",
                "timeout": 30_000,
                "table": "Interface",
                "until": "!=",
                "columns": ["ofport"],
                "where": [["name", "==", name]],
                "rows": [{"ofport": ["set", []]}],
            }
        )

    def _transact(self, *operations: Call) -> list[Any]:
        number = next(self._numbers)
        request = {"method": "transact", "id": number, "params": ["Open_vSwitch", *operations]}
        self._local.database.sendall(json.dumps(request).encode())
        text = ""
        while True:
            text += self._local.database.recv(65536).decode()
            with suppress(ValueError):
                answer = json.loads(text)
                assert answer["id"] == number, answer
                assert not any(each and each.get("error") for each in answer["result"]), answer
                result: list[Any] = answer["result"]
                return result


class Fork(Null):
    """The same, by the tools."""

    def make(self, bridge: str) -> None:
        _run("ovs-vsctl", "add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev")

    def remove(self, bridge: str) -> None:
        _run("ovs-vsctl", "del-br", bridge)

    def join(self, bridge: str, host: str, container: str, mac: bytes) -> None:
        _run("ip", "link", "add", host, "type", "veth", "peer", "name", container)
        _run("ip", "link", "set", container, "address", mac.hex(":"))
        _run("ethtool", "-K", container, "tx", "off")
        _run("ip", "link", "set", host, "up")
        _run("ovs-vsctl", "add-port", bridge, host, "tag=5")

    def leave(self, bridge: str, host: str) -> None:
        _run("ovs-vsctl", "--if-exists", "del-port", bridge, host)
        with suppress(subprocess.CalledProcessError):
            _run("ip", "link", "del", host)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _port(name: str, *, kind: str = "", tag: int | None = None) -> tuple[Call, Call]:
    row = {"name": name, "interfaces": ["named-uuid", "i"]} | ({"tag": tag} if tag else {})
    interface = {"name": name, "type": kind}
    return (
        {"op": "insert", "table": "Interface", "uuid-name": "i", "row": interface},
        {"op": "insert", "table": "Port", "uuid-name": "p", "row": row},
    )


def _change(table: str, where: list[Any], column: str, mutator: str, reference: Any) -> Call:
    mutations = [[column, mutator, ["set", [reference]]]]
    return {"op": "mutate", "table": table, "where": where, "mutations": mutations}


class Driver:
    """The calls, on one way of plugging in."""

    def __init__(self, way: Null) -> None:
        self._way = way
        self._lock = threading.Lock()
        self._numbers = itertools.count(2)
        self._released: list[int] = []
        self._macs: dict[str, bytes] = {}

    def call(self, name: str, body: Call) -> Mapping[str, object]:
        """Answer one call."""
        answer: Callable[[Call], Mapping[str, object]] | None = getattr(self, f"_{name}", None)
        return answer(body) if answer is not None else {}

    def handler(self, *, timed: bool) -> type[BaseHTTPRequestHandler]:
        """Return what the standard library's server makes of each connection."""
        driver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                driver._way.open()

            def finish(self) -> None:
                super().finish()
                driver._way.close()

            def do_POST(self) -> None:
                began = time.perf_counter()
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
                name = self.path.rpartition(".")[2]
                answer = json.dumps(driver.call(name, body)).encode()
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n"
                self.wfile.write(head.encode() + answer)
                if timed:
                    took_ms = (time.perf_counter() - began) * 1000
                    print(f"request.done method={self.path[1:]} took_ms={took_ms:.2f}", flush=True)

        return Handler

    # Named as on the wire

    def _Activate(self, _: Call) -> Mapping[str, object]:  # noqa: N802
        return {"Implements": ["NetworkDriver", "IpamDriver"]}

    def _GetCapabilities(self, _: Call) -> Mapping[str, object]:  # noqa: N802
        return {"Scope": "local"}

    def _GetDefaultAddressSpaces(self, _: Call) -> Mapping[str, object]:  # noqa: N802
        return {"LocalDefaultAddressSpace": "yard", "GlobalDefaultAddressSpace": "yard"}

    def _RequestPool(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        return {"PoolID": body["Pool"], "Pool": body["Pool"]}

    def _RequestAddress(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        if body.get("Options"):
            return {"Address": body["PoolID"].replace(".0/", ".1/")}
        with self._lock:
            number = self._released.pop() if self._released else next(self._numbers)
        first = body["PoolID"].split(".")
        return {"Address": f"{first[0]}.{first[1]}.{number >> 8}.{number & 255}/16"}

    def _ReleaseAddress(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        third, fourth = map(int, body["Address"].split(".")[2:])
        with self._lock:
            self._released.append(third << 8 | fourth)
        return {}

    def _CreateNetwork(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        self._way.make(_bridge(body))
        return {}

    def _DeleteNetwork(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        self._way.remove(_bridge(body))
        return {}

    def _CreateEndpoint(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        address = bytes(map(int, body["Interface"]["Address"].partition("/")[0].split(".")))
        mac = self._macs[body["EndpointID"]] = b"\x02\x42" + address
        return {"Interface": {"MacAddress": mac.hex(":")}}

    def _Join(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        host, container = _names(body)
        self._way.join(_bridge(body), host, container, self._macs[body["EndpointID"]])
        interface = {"SrcName": container, "DstPrefix": "eth"}
        return {"InterfaceName": interface, "DisableGatewayService": True}

    def _Leave(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        self._way.leave(_bridge(body), _names(body)[0])
        return {}

    def _DeleteEndpoint(self, body: Call) -> Mapping[str, object]:  # noqa: N802
        self._macs.pop(body["EndpointID"], None)
        return {}


def _bridge(body: Call) -> str:
    return f"yb{body['NetworkID'][:11]}"


def _names(body: Call) -> tuple[str, str]:
    digits = body["EndpointID"][:11]
    return f"yh{digits}", f"yc{digits}"


def main() -> None:
    kind, path, ovsdb, *rest = sys.argv[1:]
    ways: dict[str, Callable[[], Null]] = {
        "null": Null,
        "direct": lambda: Direct(ovsdb),
        "fork": Fork,
    }
    Server(path, Driver(ways[kind]()).handler(timed="timed" in rest)).serve_forever()


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 1024


if __name__ == "__main__":
    main()
