"""Calls as dockerd makes them: connections that are kept, and what is sent again when one fails.

After net/http (transport.go, ``shouldRetryRequest``) and moby (pkg/plugins/client.go,
``callWithRetry``): a connection that is used again and on which not a byte could be sent is
replaced, and the call made on a new one. Everything else that fails within a call is final for
its body, which is used up: the call comes again without one. A name at which nobody answers is
tried again with pauses, with the body.

    python3 tests/integration/dockerd_client.py SOCKET FILE

keeps sixteen callers of the IPAM at work until the file is there, and fails if a call was lost.
"""

import json
import random
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0
PAUSE_S = 0.05
THINKING_S = 0.05


class LostCallError(Exception):
    """dockerd would make this call again without its body."""


class DockerdClient:
    """One caller of one plugin; not for more than one thread."""

    def __init__(self, path: Path, *, lenient: bool = False) -> None:
        """Describe it.

        Args:
            path: the plugin's socket.
            lenient: also send a call with its body whose first connection broke and for which
                nobody was there right afterwards. dockerd would not; but that is a matter of
                how fast a caller is, and the tests' are slow.
        """
        self._path = path
        self._lenient = lenient
        self._kept: socket.socket | None = None

    def call(self, name: str, body: object) -> tuple[int, dict[str, Any]]:
        """Return status and answer of a call."""
        content = json.dumps(body).encode() + b"\n"
        request = (
            f"POST /{name} HTTP/1.1\r\nHost: plugin.moby.localhost\r\n"
            f"User-Agent: Go-http-client/1.1\r\nContent-Length: {len(content)}\r\n"
            "Accept: application/vnd.docker.plugins.v1.2+json\r\nAccept-Encoding: gzip\r\n\r\n"
        ).encode() + content
        connection, self._kept = self._kept, None
        if connection is not None:
            try:
                connection.sendall(request)
            except BrokenPipeError:
                connection.close()
                connection = self._connected(used_up=True)
                connection.sendall(request)
        else:
            connection = self._connected(used_up=False)
            connection.sendall(request)
        return self._answer(name, connection)

    def close(self) -> None:
        """Close the connection that is kept."""
        if self._kept is not None:
            self._kept.close()

    def _connected(self, *, used_up: bool) -> socket.socket:
        end = time.monotonic() + PATIENCE_S
        while True:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(PATIENCE_S)
            try:
                connection.connect(str(self._path))
            except (ConnectionRefusedError, FileNotFoundError) as error:
                connection.close()
                if used_up and not self._lenient:
                    raise LostCallError(
                        f"nobody answers after a connection broke: {error}"
                    ) from error
                assert time.monotonic() < end, f"nobody answers on {self._path}"
                time.sleep(PAUSE_S)
            else:
                return connection

    def _answer(self, name: str, connection: socket.socket) -> tuple[int, dict[str, Any]]:
        received = b""
        try:
            while b"\r\n\r\n" not in received:
                received += self._more(connection)
            head, _, content = received.partition(b"\r\n\r\n")
            status, *lines = head.decode().split("\r\n")
            headers = {
                key.lower(): value.strip() for key, _, value in (x.partition(":") for x in lines)
            }
            while len(content) < int(headers["content-length"]):
                content += self._more(connection)
        except (ConnectionError, TimeoutError) as error:
            connection.close()
            raise LostCallError(f"{name}: {error!r} after {received!r}") from error
        if headers.get("connection") == "close":
            connection.close()
        else:
            self._kept = connection
        return int(status.split()[1]), json.loads(content)

    @staticmethod
    def _more(connection: socket.socket) -> bytes:
        data = connection.recv(65536)
        if not data:
            raise ConnectionResetError("the connection was closed")
        return data


class Caller:
    """Takes and gives back addresses in a thread, and knows what it holds."""

    def __init__(self, client: DockerdClient, pool: str, seed: int) -> None:
        self._client = client
        self._pool = pool
        self._choose = random.Random(seed)  # noqa: S311 - the same again at every run
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.calls = 0
        self.held: list[str] = []
        self.fault: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def _work(self) -> None:
        try:
            # With pauses: an idle connection is the one that is used while it is being closed.
            while not self._over.wait(self._choose.random() * THINKING_S):
                self._step()
        except Exception as fault:  # noqa: BLE001 - shown by the test
            self.fault = fault
        finally:
            self._client.close()

    def _step(self) -> None:
        if len(self.held) > 3:
            self._ask("ReleaseAddress", PoolID=self._pool, Address=self.held[0])
            self.held.pop(0)
        else:
            answer = self._ask("RequestAddress", PoolID=self._pool, Address="", Options=None)
            self.held.append(answer["Address"].partition("/")[0])
        self.calls += 1

    def _ask(self, call: str, **members: object) -> dict[str, Any]:
        status, answer = self._client.call(f"IpamDriver.{call}", members)
        assert status == 200, answer
        return answer


@contextmanager
def load(
    path: Path, pool: str, callers: int, *, lenient: bool = False
) -> Iterator[Sequence[Caller]]:
    """Keep so many callers of the IPAM at work."""
    all_of_them = [Caller(DockerdClient(path, lenient=lenient), pool, n) for n in range(callers)]
    for caller in all_of_them:
        caller.start()
    try:
        yield all_of_them
    finally:
        for caller in all_of_them:
            caller.stop()


def main(path: Path, until: Path) -> int:
    """Call until a file is there, give everything back, and tell how it went."""
    client = DockerdClient(path)
    status, answer = client.call("IpamDriver.RequestPool", {"Pool": "10.99.0.0/24", "V6": False})
    assert status == 200, answer
    pool = answer["PoolID"]
    with load(path, pool, 16) as callers:
        while not until.exists() and not any(caller.fault for caller in callers):
            time.sleep(0.1)
    client.call("IpamDriver.ReleasePool", {"PoolID": pool})
    for caller in callers:
        if caller.fault is not None:
            print(f"lost: {caller.fault!r}")  # noqa: T201
    print(f"{sum(caller.calls for caller in callers)} calls")  # noqa: T201
    return any(caller.fault is not None for caller in callers)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
