"""Durable allocations through HTTP: the real process on its plugin socket, and two yardsticks.

The process runs in a network namespace of its own, without an Open vSwitch, which no IPAM call
needs. The client is a process too (see ``http_client.py``).
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench import http_client
from tests.bench.ipam_cases import COMPILED, Prepared
from tests.bench.measured import Measured

PATIENCE_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_HERE = Path(__file__).parent


class Serving:
    """``ovsnet serve`` on a copy of a case's store, from its exec on."""

    def __init__(self, prepared: Prepared, home: Path, netns: str) -> None:
        self._home = home
        self._pool = prepared.pool
        (home / "state").mkdir(mode=0o700, parents=True)
        shutil.copy(prepared.path, home / "state" / "state.db")
        (home / "ovsnet.toml").touch()
        self._netns = netns
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def plugin(self) -> Path:
        return self._home / "plugins" / "ovsipam.sock"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Start it and ask for one address; returns the seconds from exec to the answer."""
        home = self._home
        command = [
            *("nsenter", f"--net={self._netns}", sys.executable, "-m", "ovsdriver", "serve"),
            *("--config", str(home / "ovsnet.toml"), "--docker", f"unix://{home}/docker.sock"),
            *("--plugin-dir", str(home / "plugins"), "--run-dir", str(home / "run")),
            *("--state-dir", str(home / "state"), "--ovsdb", f"unix:{home}/no.sock"),
        ]
        with (home / "log").open("ab") as log:
            began = time.perf_counter()
            self._process = subprocess.Popen(command, stderr=log, env=os.environ | COMPILED)
        asked = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with asked:
            asked.settimeout(PATIENCE_S)
            while True:
                with suppress(FileNotFoundError, ConnectionRefusedError):
                    asked.connect(str(self.plugin))
                    break
                if self._process.poll() is not None or time.perf_counter() > began + PATIENCE_S:
                    raise SystemExit(f"it does not serve:\n{(home / 'log').read_text()}")
                time.sleep(0.002)
            address = json.loads(self._ask(asked, "RequestAddress", Address="", Options=None))
            took = time.perf_counter() - began
            self._ask(asked, "ReleaseAddress", Address=address["Address"].partition("/")[0])
        return took

    def resident_mb(self) -> float:
        return _status_mb(self.pid, "VmRSS")

    def peak_mb(self) -> float:
        return _status_mb(self.pid, "VmHWM")

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)

    def _ask(self, asked: socket.socket, call: str, **members: object) -> bytes:
        asked.sendall(http_client.request(f"IpamDriver.{call}", PoolID=self._pool, **members))
        heard = b""
        while (body := http_client.body_of(heard)) is None:
            more = asked.recv(65536)
            if not more:
                raise SystemExit(f"{call}: it closed the connection")
            heard += more
        return body


class Yardstick:
    """A server that does nothing."""

    def __init__(self, kind: str, home: Path) -> None:
        self.plugin = home / f"{kind}.sock"
        command = [sys.executable, str(_HERE / "null_servers.py"), kind, str(self.plugin)]
        self._process = subprocess.Popen(command)
        end = time.monotonic() + PATIENCE_S
        while not self.plugin.exists():
            assert time.monotonic() < end, f"{kind} does not listen"
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)


class ThroughHttp:
    """A socket with its client."""

    def __init__(self, name: str, path: Path, pool: str, serving: Serving | None = None) -> None:
        self.measured = Measured(name)
        self._serving = serving
        self._client = subprocess.Popen(
            [sys.executable, "-I", str(_HERE / "http_client.py"), str(path), pool],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, at_once: int, total: int) -> None:
        """Have ``total`` addresses allocated, ``at_once`` at a time, and released again."""
        used = self._serving.cpu_s() if self._serving else 0.0
        result = self._order(at_once, total)
        used = self._serving.cpu_s() - used if self._serving else 0.0
        assert result["distinct"] == total, "an address was given twice"
        self.measured.note(
            at_once,
            took_s=result["took_s"],
            release_s=result["release_s"],
            latencies_ms=result["latencies_ms"],
            client_us=result["cpu_s"] / total * 1e6,
            server_us=used / (2 * total) * 1e6,
        )

    def stop(self) -> None:
        assert self._client.stdin is not None
        self._client.stdin.close()
        self._client.wait(PATIENCE_S)

    def _order(self, at_once: int, total: int) -> dict[str, Any]:
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        print(at_once, total, file=self._client.stdin, flush=True)
        line = self._client.stdout.readline()
        if not line:
            raise SystemExit("the client failed; its words are above")
        result: dict[str, Any] = json.loads(line)
        return result


def _status_mb(pid: int, key: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(key)
