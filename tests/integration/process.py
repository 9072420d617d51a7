"""``ovsnet serve`` as a process with folders of its own, in a network namespace."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 60.0


class Unix(http.client.HTTPConnection):
    """A connection to a unix socket, opened at the first request and kept."""

    def __init__(self, path: Path) -> None:
        super().__init__("ovsnet", timeout=PATIENCE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(self._path))


class Process:
    """``ovsnet serve`` with folders of its own, and what asks it."""

    def __init__(self, home: Path, netns: str, ovsdb: str = "") -> None:
        self.home = home
        self.netns = netns
        self.ovsdb = ovsdb or f"unix:{home}/no.sock"
        self.config = home / "ovsnet.toml"
        self.config.write_text("")
        self.plugin_dir = home / "plugins"
        self.run_dir = home / "run"
        self.state_dir = home / "state"
        self.log = home / "log"
        self.module = "ovsdriver"
        self.running: subprocess.Popen[bytes] | None = None
        self.passed: list[socket.socket] = []
        """Listening sockets that the process gets from its parent, as systemd passes them."""

    @property
    def store(self) -> Path:
        return self.state_dir / "state.db"

    def flags(self, *names: str) -> list[str]:
        known = {
            "plugin-dir": self.plugin_dir,
            "run-dir": self.run_dir,
            "state-dir": self.state_dir,
            "ovsdb": self.ovsdb,
        }
        return [word for name in names for word in (f"--{name}", str(known[name]))]

    def start(self, *, wait: bool = True) -> None:
        descriptors = [sock.fileno() for sock in self.passed]
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                [
                    *self._passing(descriptors),
                    *("nsenter", f"--net={self.netns}", sys.executable, "-m", self.module, "serve"),
                    *("--config", str(self.config), "--docker", f"unix://{self.home}/docker.sock"),
                    *self.flags("plugin-dir", "run-dir", "state-dir", "ovsdb"),
                ],
                stderr=log,
                pass_fds=descriptors,
            )
        if wait:
            self.until(lambda: "process.listening" in self.said(), "it listens")

    @staticmethod
    def _passing(descriptors: Sequence[int]) -> list[str]:
        """Return what puts descriptors from 3 on, and says for whom (sd_listen_fds(3))."""
        if not descriptors:
            return []
        moved = " ".join(f"{3 + at}<&{each}" for at, each in enumerate(descriptors))
        said = f"LISTEN_PID=$$ LISTEN_FDS={len(descriptors)}"
        return ["bash", "-c", f'exec {moved}; {said} exec "$@"', "passing"]

    def stop(self) -> int:
        assert self.running is not None
        self.running.send_signal(signal.SIGTERM)
        code = self.running.wait(PATIENCE_S)
        self.running = None
        return code

    def said(self) -> str:
        return self.log.read_text()

    def until(self, met: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not met():
            assert self.running is None or self.running.poll() is None, self.said()
            assert time.monotonic() < end, f"not so in time: {what}\n{self.said()}"
            time.sleep(0.05)

    def ask(self, call: str, body: object = None, *, name: str = "ovsnet") -> tuple[int, Any]:
        return self._ask("POST", self.plugin_dir / f"{name}.sock", f"/{call}", body)

    def admin(self, word: str, **said: object) -> tuple[int, Any]:
        return self._ask("POST", self.run_dir / "admin.sock", f"/ask/{word}", said)

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *("nsenter", f"--net={self.netns}", sys.executable, "-m", "ovsdriver"),
                *words,
                *("--config", str(self.config)),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S * 2,
        )

    def _ask(self, method: str, path: Path, call: str, body: object) -> tuple[int, Any]:
        connection = Unix(path)
        try:
            connection.request(method, call, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@contextmanager
def made(netns: str, ovsdb: str = "") -> Iterator[Process]:
    # Not tmp_path: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="edg-") as home:
        process = Process(Path(home), netns, ovsdb)
        try:
            yield process
        finally:
            if process.running is not None:
                process.running.kill()
                process.running.wait(PATIENCE_S)
