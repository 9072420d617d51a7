"""What nobody should send to the sockets: wrong members one by one, and junk of all kinds."""

import json
import random
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

PATIENCE_S = 60.0

SPACE = "junk"
SUBNET = "10.99.0.0/24"

LEFT_OPEN = 50

RAW = bytes | None
"""A member's value as it is sent; None: the member is missing."""

Template = dict[str, dict[str, object]]
"""Calls by their names, each with a body that makes sense; ``POOL`` and the like stand for ids."""

IPAM: Template = {
    "IpamDriver.RequestPool": {
        "AddressSpace": SPACE,
        "Pool": SUBNET,
        "SubPool": "10.99.0.128/25",
        "Options": {"ipam.space": SPACE},
        "V6": False,
    },
    "IpamDriver.ReleasePool": {"PoolID": "POOL"},
    "IpamDriver.RequestAddress": {
        "PoolID": "POOL",
        "Address": "10.99.0.7",
        "Options": {
            "RequestAddressType": "com.docker.network.gateway",
            "com.docker.network.endpoint.name": "web",
            "com.docker.network.endpoint.macaddress": "02:00:00:00:00:01",
        },
    },
    "IpamDriver.ReleaseAddress": {"PoolID": "POOL", "Address": "10.99.0.7"},
    "IpamDriver.GetDefaultAddressSpaces": {},
    "IpamDriver.GetCapabilities": {},
    "Plugin.Activate": {},
}

_PLACE = {"NetworkID": "NETWORK", "EndpointID": "ENDPOINT"}
_NOWHERE = {"NetworkID": "NETWORK", "EndpointID": "f" * 64}
_PORTS = [
    {"Proto": 6, "IP": "", "Port": 80, "HostIP": "", "HostPort": 8080, "HostPortEnd": 8080},
]
_DOCKERS = {
    "com.docker.network.endpoint.exposedports": [{"Proto": 6, "Port": 80}],
    "com.docker.network.portmap": _PORTS,
}

NETWORK: Template = {
    "NetworkDriver.CreateNetwork": {
        "NetworkID": "e" * 64,
        "Options": {
            "com.docker.network.enable_ipv4": True,
            "com.docker.network.enable_ipv6": True,
            "com.docker.network.internal": False,
            "com.docker.network.generic": {
                "ovs.mode": "isolated",
                "ovs.bridge": "br-junk",
                "ovs.vlan": "77",
                "ovs.mtu": "1400",
            },
        },
        "IPv4Data": [
            {
                "AddressSpace": SPACE,
                "Pool": "10.97.0.0/24",
                "Gateway": "10.97.0.1/24",
                "AuxAddresses": {"router": "10.97.0.9/24"},
            }
        ],
        "IPv6Data": [{"AddressSpace": SPACE, "Pool": "fd00:97::/64", "Gateway": "fd00:97::1/64"}],
    },
    "NetworkDriver.CreateEndpoint": {
        "NetworkID": "NETWORK",
        "EndpointID": "d" * 64,
        "Interface": {
            "Address": "10.98.0.77/24",
            "AddressIPv6": "",
            "MacAddress": "02:00:00:00:00:77",
        },
        "Options": {**_DOCKERS, "ovs.vlan": "78", "ovs.port": "veth"},
    },
    "NetworkDriver.Join": {
        "NetworkID": "NETWORK",
        "EndpointID": "d" * 64,
        "SandboxKey": "/run/docker/netns/nowhere",
        "Options": _DOCKERS,
    },
    "NetworkDriver.ProgramExternalConnectivity": {**_PLACE, "Options": _DOCKERS},
    "NetworkDriver.RevokeExternalConnectivity": _NOWHERE,
    "NetworkDriver.Leave": _NOWHERE,
    "NetworkDriver.DeleteEndpoint": _NOWHERE,
    "NetworkDriver.DeleteNetwork": {"NetworkID": "f" * 64},
    "NetworkDriver.EndpointOperInfo": _PLACE,
    "NetworkDriver.GwAllocCheck": {"Options": {"com.docker.network.internal": False}},
    "NetworkDriver.AllocateNetwork": {
        "NetworkID": "f" * 64,
        "Options": {"ovs.vlan": "77"},
        "IPv4Data": [{"AddressSpace": SPACE, "Pool": "10.97.0.0/24"}],
        "IPv6Data": [],
    },
    "NetworkDriver.FreeNetwork": {"NetworkID": "f" * 64},
    "NetworkDriver.DiscoverNew": {
        "DiscoveryType": 1,
        "DiscoveryData": {"Address": "10.0.0.1", "BindAddress": "10.0.0.1", "Self": True},
    },
    "NetworkDriver.DiscoverDelete": {
        "DiscoveryType": 1,
        "DiscoveryData": {"Address": "10.0.0.1", "BindAddress": "10.0.0.1", "Self": True},
    },
    "NetworkDriver.GetCapabilities": {},
}

ADMIN: Template = {
    "ask/show-status": {},
    "ask/show-state": {},
    "ask/set-options": {"target": "x", "options": {"ovs.icc": "false"}},
    "ask/plan-network": {
        "options": {"ovs.vlan": "77"},
        "subnets": ["10.97.0.0/24"],
        "gateways": ["10.97.0.1"],
        "internal": False,
        "ipv6": False,
    },
    "ask/remove-network": {"name": "x", "force": False},
    "ask/reconcile": {"dry_run": True},
    "ask/list-pools": {"of": "x"},
    "ask/list-leases": {"pool": "POOL", "after": "10.99.0.7", "limit": 10},
    "ask/release": {"address": "10.98.0.9", "pool": "POOL", "network": "x", "force": False},
    "ask/release-pool": {"pool": "x", "force": False},
    "ask/list-reservations": {"network": "x", "pool": "POOL", "space": "s"},
    "ask/reserve": {
        "space": "s",
        "address": "10.99.0.7",
        "name": "x",
        "note": "x",
        "replace": False,
    },
    "ask/unreserve": {"space": "s", "address": "10.99.0.7"},
    "ask/apply-reservations": {
        "reservations": [{"space": "s", "address": "10.99.0.7", "name": "x", "note": "x"}],
        "prune": ["s"],
        "prune_all": False,
        "replace": False,
        "dry_run": False,
    },
}
"""Everything but ``purge``, which makes sense without a word."""

_TEXTS = (
    *("", " ", "x", "/", "../../etc/passwd", "POOL\n", "a" * 64, "a" * 5000, "%s%n{}", "'; --"),
    *("\0", "\x1b[2J", "\u202e", "\ufeff", "é", "🦆" * 100, "1\uff10.99.0.7", "10.99.0.\u0667"),
    *("10.99.0.0/24", "10.99.0.5/24", "10.99.0.0/33", "10.99.0.0/-1", "10.99.0.0/", "/24"),
    *("0.0.0.0/0", "::/0", "255.255.255.255", "10.99.0.0", "10.99.0.255", "10.98.0.1", "::"),
    *("010.099.000.007", "0x0a630007", "174260231", "10.99.7", "10.99.0.7 ", "10.99.0.7\n"),
    *("fd00::1", "fe80::1%eth0", "::ffff:10.99.0.7", "fd00::/64", "ff02::1", "1e9", "-1", "true"),
    *("com.docker.network.gateway", "02:00:00:00:00:01", "null", "{}", "[]"),
)

VALUES: tuple[RAW, ...] = (
    None,
    *(json.dumps(text).encode() for text in _TEXTS),
    *(json.dumps(text, ensure_ascii=False).encode() for text in ("é", "🦆", "\u2028")),
    *(b"null", b"true", b"false", b"0", b"-0", b"1", b"-1", b"1.5", b"1e999", b"-1e-999"),
    *(b"9" * 30, b"9" * 5000, b"[]", b"{}", b"[[]]", b"[null]", b'[""]', b'{"": ""}'),
    *(b'{"x": {"y": {"z": []}}}', b'{"ipam.space": 5}', b'{"ipam.prefix": "99"}'),
    *(b'{"ipam.prefix": "\\u0660"}', b'{"ipam.nonsense": "1"}', b'{"a": "1", "a": "2"}'),
    *(b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900, b"[" * 90_000),
    *(b"NaN", b"Infinity", b"nul", b"'x'", b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff"', b'"\x01"'),
    *(b'"' + b"x" * 900_000 + b'"', b"[" + b"0," * 200_000 + b"0]"),
)


def wrong_members(
    calls: Template, values: Sequence[RAW] = VALUES, **ids: str
) -> Iterator[tuple[str, bytes]]:
    """Yield calls with one member wrong, each in turn and each in every way, as name and body.

    Args:
        calls: what makes sense.
        values: what does not.
        ids: what the words of the template stand for.
    """
    for call, template in calls.items():
        for body in _changed(template, values, ids):
            yield call, body + b"\n"
        for value in values:
            if value is not None:
                yield call, value


def _changed(value: object, values: Sequence[RAW], ids: Mapping[str, str]) -> Iterator[bytes]:
    if isinstance(value, dict):
        members: dict[str, RAW] = {name: _json(inner, ids) for name, inner in value.items()}
        for name, inner in value.items():
            for wrong in values:
                yield _object({**members, name: wrong})
            for wrong in _changed(inner, values, ids):
                yield _object({**members, name: wrong})
    elif isinstance(value, list):
        for each in value[:1]:
            for wrong in (*values, *_changed(each, values, ids)):
                if wrong is not None:
                    yield b"[" + wrong + b"]"


def _json(value: object, ids: Mapping[str, str]) -> bytes:
    text = json.dumps(value)
    for word, identifier in ids.items():
        text = text.replace(f'"{word}"', json.dumps(identifier))
    return text.encode()


def _object(members: Mapping[str, RAW]) -> bytes:
    pairs = (json.dumps(k).encode() + b": " + v for k, v in members.items() if v is not None)
    return b"{" + b", ".join(pairs) + b"}"


def post(call: str, body: bytes, *, head: bytes = b"") -> bytes:
    """Return a request as dockerd writes it, with more lines in its head."""
    return (
        f"POST /{call} HTTP/1.1\r\nHost: plugin.moby.localhost\r\n"
        f"Content-Length: {len(body)}\r\n".encode()
        + head
        + b"\r\n"
        + body
    )


class Junk:
    """Sends junk of all kinds; the same for the same seed."""

    def __init__(
        self, path: Path, calls: Template, seed: int, always: Mapping[str, object]
    ) -> None:
        """Describe it.

        Args:
            path: the socket.
            calls: names and members; it is no matter whether they make sense.
            seed: of all that is chosen.
            always: members that most bodies have, so that some of them get further.
        """
        self._path = path
        self._calls = calls
        self._always: dict[str, RAW] = {k: json.dumps(v).encode() for k, v in always.items()}
        self._choose = random.Random(seed)  # noqa: S311 - the same again for the same seed
        self._open: list[socket.socket] = []
        self._kinds: tuple[Callable[[], bytes], ...] = (
            self._noise,
            self._broken_head,
            self._broken_length,
            self._broken_chunks,
            self._huge_head,
            self._cut,
            self._twisted,
            self._pipelined,
        )

    def send(self) -> None:
        """Send one piece of junk on a connection of its own, and leave that in one of many ways."""
        data = self._choose.choice(self._kinds)()
        connection = _connected(self._path)
        try:
            for piece in self._pieces(data):
                connection.sendall(piece)
            kept = self._leave(connection)
        except (ConnectionError, TimeoutError):
            kept = False  # the server refuses before it has read everything, or waits for more
        if not kept:
            connection.close()

    def close(self) -> None:
        """Close what was left open."""
        for connection in self._open:
            connection.close()

    def _pieces(self, data: bytes) -> list[bytes]:
        if self._choose.random() < 0.7 or len(data) < 2:
            return [data]
        at = self._choose.randrange(1, len(data))
        return [data[:at], data[at:]]

    def _leave(self, connection: socket.socket) -> bool:
        """Leave a connection in one of many ways; True if it is to stay open for now."""
        how = self._choose.random()
        if how < 0.3:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        elif how < 0.4:
            connection.shutdown(socket.SHUT_RD)
        elif how < 0.5:
            self._open.append(connection)
            if len(self._open) > LEFT_OPEN:
                self._open.pop(0).close()
            return True
        elif how < 0.7:
            connection.settimeout(0.01)
            connection.recv(65536)
        return False

    # Kinds of junk

    def _noise(self) -> bytes:
        return self._choose.randbytes(self._choose.choice((0, 1, 10, 1000, 100_000)))

    def _broken_head(self) -> bytes:
        call = self._choose.choice(list(self._calls))
        line = self._choose.choice(
            (
                *("", "POST", "POST /", f"POST /{call}", f"POST {call} HTTP/1.1", "\0" * 20),
                *(f"post /{call} HTTP/1.1", f"POST /{call} HTTP/9.9", f"POST /{call} HTTP/0.9"),
                *(f"BREW /{call} HTTP/1.1", f"CONNECT /{call} HTTP/1.1", "PRI * HTTP/2.0"),
                *(f"POST /{call}?a=b#c HTTP/1.1", f"POST /{call}/.. HTTP/1.1"),
                *(f"POST http://[::1/{call} HTTP/1.1", "POST /%00%ff HTTP/1.1"),
                *(f"POST /{'x' * 20_000} HTTP/1.1", f"POST /{call} HTTP/1.1 HTTP/1.1", "é" * 9),
            )
        )
        more = self._choose.choice(
            (
                *("Host: x", "Host", ": x", "Host : x", " Host: x", "Host: x\r\n folded: y"),
                *("Host: \0", "Host: \x7f", "Expect: 100-continue", "Expect: the worst"),
                *("Connection: upgrade\r\nUpgrade: h2c", "Connection: close", "Connection: \x01"),
                *("Content-Encoding: gzip", "Content-Type: multipart/form-data", "Cookie: ;;;="),
            )
        )
        end = self._choose.choice(("\r\n\r\n", "\n\n", "\r\r", "\r\n"))
        return f"{line}\r\n{more}{end}".encode()

    def _broken_length(self) -> bytes:
        length = self._choose.choice(
            (
                *("-1", "0", "1", "+5", "5, 5", "0x5", " ", "x", "9" * 30, "1e3", "\u0665"),
                *("5\r\nContent-Length: 6", "5\r\nTransfer-Encoding: chunked"),
            )
        )
        call = self._choose.choice(list(self._calls))
        head = f"POST /{call} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        return head.encode() + self._body()

    def _broken_chunks(self) -> bytes:
        call = self._choose.choice(list(self._calls))
        head = f"POST /{call} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = self._choose.choice(
            (
                *(
                    b"5\r\n{}\r\n0\r\n\r\n",
                    b"-1\r\n",
                    b"x\r\n",
                    b"fffffffffffffffff\r\n{}",
                    b"\r\n",
                ),
                *(b"2\r\n{}", b"2;a=b\r\n{}\r\n0\r\nTrailer: x\r\n\r\n", b"2\n{}\n0\n\n", b"0"),
                *(b"1\r\n{\r\n" * 1000, b"ffffffff\r\n" + b"x" * 100_000),
            )
        )
        return head.encode() + chunk

    def _huge_head(self) -> bytes:
        call = self._choose.choice(list(self._calls))
        lines = self._choose.choice(
            (
                b"X: " + b"x" * 100_000,
                b"x" * 100_000 + b": x",
                b"\r\n".join(b"X-%d: x" % number for number in range(10_000)),
                b"X: " + b"x" * 7_000,
            )
        )
        return post(call, b"{}", head=lines + b"\r\n")

    def _cut(self) -> bytes:
        whole = post(self._choose.choice(list(self._calls)), self._body())
        return whole[: self._choose.randrange(len(whole))]

    def _twisted(self) -> bytes:
        whole = bytearray(post(self._choose.choice(list(self._calls)), self._body()))
        for _ in range(self._choose.randrange(1, 10)):
            whole[self._choose.randrange(len(whole))] = self._choose.randrange(256)
        return bytes(whole)

    def _pipelined(self) -> bytes:
        return b"".join(
            post(self._choose.choice(list(self._calls)), self._body())
            for _ in range(self._choose.choice((2, 10, 100)))
        )

    def _body(self) -> bytes:
        """Return an object of generated members, now and then of the right names."""
        names = [*{name for template in self._calls.values() for name in template}, "x", ""]
        values = [value for value in VALUES if value is not None and len(value) < 10_000]
        members: dict[str, RAW] = {
            self._choose.choice(names): self._choose.choice(values)
            for _ in range(self._choose.randrange(5))
        }
        for name, value in self._always.items():
            if self._choose.random() < 0.7:
                members[name] = value
        return _object(members) + b"\n"


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE_S)
    connection.connect(str(path))
    return connection
