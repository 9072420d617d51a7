"""The client of the benchmark through HTTP: a process of its own, on bare sockets.

    python http_client.py SOCKET POOL      (alone: nothing of the product is imported)

Reads orders from stdin, ``AT_ONCE TOTAL`` a line: allocates TOTAL addresses on AT_ONCE kept-alive
connections, one call at a time on each, releases them again, and writes what that took as a line of
JSON. Requests are the bytes that dockerd sends; of an answer it reads the status, the length and
the address. That costs some 20 us a call, and the null server tells how much exactly.
"""

import json
import resource
import select
import socket
import sys
import time
from collections.abc import Callable

HEAD = (
    "POST /{call} HTTP/1.1\r\nHost: plugin.moby.localhost\r\n"
    "User-Agent: Go-http-client/1.1\r\nContent-Length: {length}\r\n"
    "Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n"
)
PATIENCE_S = 60.0


def request(call: str, **members: object) -> bytes:
    """Return a call as Go's client writes it."""
    body = json.dumps(members, separators=(",", ":")).encode() + b"\n"
    return HEAD.format(call=call, length=len(body)).encode() + body


def body_of(data: bytes) -> bytes | None:
    """Return the body of an answer, None while some of it is still to come."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    at = head.index(b"content-length:") + len(b"content-length:")
    length = int(head[at:].split(b"\r\n", 1)[0])
    body = data[end + 4 :]
    if len(body) < length:
        return None
    if not data.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"refused: {data.decode(errors='replace')}")
    return body


class Client:
    """Connections to one socket."""

    def __init__(self, path: str, pool: str) -> None:
        self._path = path
        self._pool = pool
        self._idle: list[socket.socket] = []

    def measure(self, at_once: int, total: int) -> dict[str, object]:
        """Allocate and release; seconds, and milliseconds of each call."""
        while len(self._idle) < at_once:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(self._path)
            self._idle.append(connection)
        addresses: list[str] = []
        wanted = request("IpamDriver.RequestAddress", PoolID=self._pool, Address="", Options=None)
        used = _cpu_s()
        began = time.perf_counter()
        latencies = self._calls(
            at_once,
            [wanted] * total,
            lambda body: addresses.append(json.loads(body)["Address"].partition("/")[0]),
        )
        took = time.perf_counter() - began
        used = _cpu_s() - used
        releases = [
            request("IpamDriver.ReleaseAddress", PoolID=self._pool, Address=address)
            for address in addresses
        ]
        began = time.perf_counter()
        self._calls(at_once, releases, lambda body: None)
        return {
            "distinct": len(set(addresses)),
            "took_s": took,
            "cpu_s": used,
            "latencies_ms": latencies,
            "release_s": time.perf_counter() - began,
        }

    def _calls(
        self, at_once: int, requests: list[bytes], answered: Callable[[bytes], None]
    ) -> list[float]:
        poll = select.epoll()
        latencies, waiting, heard = [], requests[::-1], {}
        for connection in self._idle[:at_once]:
            poll.register(connection, select.EPOLLIN)
            heard[connection.fileno()] = [connection, b"", time.perf_counter()]
            connection.sendall(waiting.pop())
        missing = len(requests)
        while missing:
            ready = poll.poll(PATIENCE_S)
            if not ready:
                raise SystemExit(f"{missing} calls were not answered in {PATIENCE_S:g} s")
            for number, _ in ready:
                state = heard[number]
                connection, before, began = state
                more = connection.recv(65536)
                if not more:
                    raise SystemExit("the server closed a connection")
                body = body_of(before + more)
                if body is None:
                    state[1] = before + more
                    continue
                now = time.perf_counter()
                latencies.append((now - began) * 1000)
                missing -= 1
                answered(body)
                if waiting:
                    connection.sendall(waiting.pop())
                state[1:] = [b"", now]
        poll.close()
        return latencies


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    client = Client(*sys.argv[1:3])
    for line in sys.stdin:
        at_once, total = map(int, line.split())
        print(json.dumps(client.measure(at_once, total)), flush=True)


if __name__ == "__main__":
    main()
