"""Records what another engine says where an old recording's user types the same again.

    python3 tests/wire/record.py OLD.jsonl NEW.jsonl

Starts a dockerd of its own, so it wants a machine that can be thrown away, such as the tree of
``tests/run newest``, and root, busybox and Docker on it. Not for it are scenarios with forced
answers (``inject``), a restarted plugin or a killed container.
"""

import http.server
import ipaddress
import json
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

PLUGINS = Path("/run/docker/plugins")
HOME = Path("/var/lib/recorded-dockerd")
PIDFILE = Path("/run/recorded-dockerd.pid")
HEADERS = ("Host", "User-Agent", "Accept", "Content-Length")
IMAGE = "bb:1"


class Recording:
    """A file that events are appended to, by several threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")
        self._lock = threading.Lock()
        self._calls = 0
        self._over = False

    def end(self) -> None:
        """Leave out what is still said: it is of the tidying up."""
        with self._lock:
            self._over = True

    def add(self, ev: str, **values: Any) -> None:
        ts = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            if not self._over:
                self._write({"ts": ts, "ev": ev, **values})

    def add_call(self, **values: Any) -> int:
        ts = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            self._calls += 1
            if not self._over:
                self._write({"ts": ts, "ev": "req", "n": self._calls, **values})
            return self._calls

    def add_log(self, line: str) -> None:
        with self._lock:
            self._write({"ev": "dockerd_log", "line": line})

    def close(self) -> None:
        self._file.close()

    def _write(self, event: dict[str, Any]) -> None:
        self._file.write(json.dumps(event, ensure_ascii=False) + "\n")


class Driver:
    """A driver that accepts anything: a bridge for each network, a pair for each endpoint."""

    def __init__(self, fixed: dict[str, Any]) -> None:
        """``fixed`` are the answers of the old recording that do not depend on the call."""
        self._fixed = fixed
        self._taken: dict[str, set[int]] = {}
        self._gateways: dict[str, dict[str, str]] = {}
        self._automatic = 0
        self._lock = threading.Lock()

    def answer(self, name: str, call: str, body: dict[str, Any]) -> dict[str, Any]:
        if call == "Plugin.Activate":
            return {"Implements": ["NetworkDriver" if name == "recnet" else "IpamDriver"]}
        if call in self._fixed:
            return dict(self._fixed[call])
        method = getattr(self, "_" + call.partition(".")[2], None)
        with self._lock:
            return method(body) if method else {}

    def _RequestPool(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Docker's names
        pool = body["Pool"]
        if not pool:
            number = self._automatic
            self._automatic += 1
            pool = f"fd00:77:{number}::/64" if body["V6"] else f"10.77.{number}.0/24"
        id_ = f"{body['AddressSpace']}/{pool}"
        self._taken.setdefault(id_, set())
        return {"PoolID": id_, "Pool": pool, "Data": {}}

    def _ReleasePool(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        self._taken.pop(body["PoolID"], None)
        return {}

    def _RequestAddress(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        pool = ipaddress.ip_network(body["PoolID"].partition("/")[2], strict=False)
        taken = self._taken.setdefault(body["PoolID"], set())
        address = body["Address"] and int(ipaddress.ip_address(body["Address"]))
        if not address:
            address = int(pool[1])
            while address in taken:
                address += 1
        elif address in taken:
            return {"Error": "Address already in use"}
        taken.add(address)
        return {"Address": f"{ipaddress.ip_address(address)}/{pool.prefixlen}", "Data": {}}

    def _ReleaseAddress(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        taken = self._taken.get(body["PoolID"], set())
        taken.discard(int(ipaddress.ip_address(body["Address"])))
        return {}

    def _CreateNetwork(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        bridge = "rb" + body["NetworkID"][:8]
        ip("link", "add", bridge, "type", "bridge")
        ip("link", "set", bridge, "up")
        gateways = {}
        for key, name in (("IPv4Data", "Gateway"), ("IPv6Data", "GatewayIPv6")):
            for pool in (body[key] or [])[:1]:
                if pool.get("Gateway"):
                    gateways[name] = pool["Gateway"].partition("/")[0]
                    ip("address", "add", pool["Gateway"], "dev", bridge)
        self._gateways[body["NetworkID"]] = gateways
        return {}

    def _DeleteNetwork(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        ip("link", "delete", "rb" + body["NetworkID"][:8])
        return {}

    def _CreateEndpoint(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        if (body.get("Interface") or {}).get("MacAddress"):
            return {"Interface": {}}
        digits = body["EndpointID"][:10]
        mac = ":".join(["02", *(digits[i : i + 2] for i in range(0, 10, 2))])
        return {"Interface": {"MacAddress": mac}}

    def _Join(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        ours, its = (end + body["EndpointID"][:8] for end in ("vh", "vc"))
        ip("link", "add", ours, "type", "veth", "peer", "name", its)
        ip("link", "set", ours, "master", "rb" + body["NetworkID"][:8], "up")
        gateways = self._gateways.get(body["NetworkID"], {})
        return {"InterfaceName": {"SrcName": its, "DstPrefix": "eth"}, **gateways}

    def _DeleteEndpoint(self, body: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        ip("link", "delete", "vh" + body["EndpointID"][:8])
        return {}

    def _EndpointOperInfo(self, _: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Value": {"recnet.note": "hello"}}


class Socket(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """One of the plugin's sockets."""

    daemon_threads = True

    def __init__(self, name: str, recording: Recording, driver: Driver) -> None:
        path = PLUGINS / f"{name}.sock"
        path.unlink(missing_ok=True)
        super().__init__(str(path), Handler)
        self.name, self.recording, self.driver = name, recording, driver
        self.connections = 0
        self.shown: dict[str, Any] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of dockerd's."""

    protocol_version = "HTTP/1.1"
    server: Socket

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1
        self._number = self.server.connections

    def address_string(self) -> str:
        return self.server.name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base's name
        pass

    def do_POST(self) -> None:
        began = time.monotonic()
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call, body = self.path[1:], json.loads(raw) if raw.strip() else None
        headers = {key: self.headers[key] for key in HEADERS if key in self.headers}
        shown = {key: value for key, value in headers.items() if key != "Content-Length"}
        more: dict[str, Any] = {}
        if shown != self.server.shown:
            self.server.shown = shown
            more = {"http": self.requestline, "headers": headers}
        name, conn = self.server.name, self._number
        number = self.server.recording.add_call(sock=name, conn=conn, call=call, **more, body=body)
        answer = self.server.driver.answer(name, call, body or {})
        took = round((time.monotonic() - began) * 1000, 1)
        self.server.recording.add("resp", n=number, status=200, body=answer, ms=took)
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def ip(*words: str) -> None:
    """Change a link; what is there or gone already is well."""
    subprocess.run(["ip", *words], check=False, capture_output=True)


class Dockerd:
    """dockerd, with whatever options the scenario starts it."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._process: subprocess.Popen[bytes] | None = None
        self._log = HOME.with_suffix(".log")
        self._log.unlink(missing_ok=True)

    def start(self, *options: str) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["dockerd", "--debug", f"--data-root={HOME}", f"--pidfile={PIDFILE}", *options],
                stdout=log,
                stderr=log,
            )
        while subprocess.run(["docker", "version"], check=False, capture_output=True).returncode:
            time.sleep(0.05)

    def end(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()
        self._process = None
        PIDFILE.unlink(missing_ok=True)

    @property
    def runs(self) -> bool:
        return self._process is not None

    def said(self) -> Iterator[str]:
        """What it said of networks and addresses, without the time."""
        for line in self._log.read_text(errors="replace").splitlines():
            text = line.partition(" ")[2]
            if any(word in text for word in ("eleasing", "stale sandbox", "locating sandbox")):
                yield text


def import_image() -> None:
    """Make the image that the scenarios run, of the host's busybox."""
    busybox = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("bin/busybox")
        member.size, member.mode = len(busybox), 0o755
        tar.addfile(member, BytesIO(busybox))
        for name in ("sh", "ip", "sleep", "true", "false", "ping", "nc", "cat", "kill", "wget"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    subprocess.run(
        ["docker", "import", "-", IMAGE], input=packed.getvalue(), check=True, capture_output=True
    )


def fixed_answers(old: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the plugin always says of itself."""
    calls = {event["n"]: event["call"] for event in old if event["ev"] == "req"}
    answers: dict[str, Any] = {
        "IpamDriver.GetDefaultAddressSpaces": {
            "LocalDefaultAddressSpace": "RecLocal",
            "GlobalDefaultAddressSpace": "RecGlobal",
        },
        "NetworkDriver.GetCapabilities": {"Scope": "local"},
        "IpamDriver.GetCapabilities": {},
    }
    for event in old:
        call = calls.get(event.get("n", 0), "")
        if event["ev"] == "resp" and call.endswith(("GetCapabilities", "GwAllocCheck")):
            answers[call] = event["body"]
    return answers


def again(old: list[dict[str, Any]], recording: Recording, dockerd: Dockerd) -> None:
    """Do what was done in ``old``."""
    waited = 0.0
    for at, event in enumerate(old):
        match event["ev"], event.get("what", ""):
            case "cmd", _:
                recording.add("cmd", cmd=event["cmd"])
                began = time.monotonic()
                done = subprocess.run(
                    ["sh", "-c", event["cmd"]], check=False, capture_output=True, text=True
                )
                recording.add(
                    "cmd_end",
                    rc=done.returncode,
                    secs=round(time.monotonic() - began, 2),
                    stdout=done.stdout.strip(),
                    stderr=done.stderr.strip(),
                )
            case "note", _:
                recording.add("note", note=event["note"])
            case "daemon", "start":
                recording.add("daemon", what="start", args=event["args"])
                dockerd.start(*event["args"])
                recording.add("daemon", what="API answers")
                # Whoever recorded gave containers a moment to be started again.
                waited = 3.0 if at else 0.0
            case "daemon", what if what.startswith("signal "):
                recording.add("daemon", what=what)
                began = time.monotonic()
                dockerd.end(int(what.removeprefix("signal ")))
                recording.add("daemon", what="exited", secs=round(time.monotonic() - began, 2))
        time.sleep(waited)
        waited = 0.0


def main(source: Path, target: Path) -> None:
    """Record ``target``."""
    old = [json.loads(line) for line in source.read_text().splitlines()]
    assert not any(event["ev"] in ("inject", "plugin") for event in old), "not for this program"
    first, *rest = old
    PLUGINS.mkdir(parents=True, exist_ok=True)
    recording = Recording(target)
    engine = subprocess.run(["dockerd", "--version"], check=True, capture_output=True, text=True)
    version = engine.stdout.split("version ")[1].split("+")[0].split(",")[0]
    dockerd = Dockerd(recording)
    driver = Driver(fixed_answers(old))
    for name in ("recnet", "recipam"):
        Socket(name, recording, driver)
    recording.add("scenario", engine=version, name=first["name"], about=first["about"])
    dockerd.start()
    import_image()
    try:
        again(rest, recording, dockerd)
    finally:
        recording.end()
        left = "docker ps --all --quiet | xargs --no-run-if-empty docker rm --force"
        subprocess.run(["sh", "-c", left], check=False, capture_output=True)
        if dockerd.runs:
            dockerd.end(signal.SIGTERM)
        for _, link in socket.if_nameindex():
            if link.startswith(("rb", "vh")):
                ip("link", "delete", link)
        for line in dockerd.said():
            recording.add_log(line)
        recording.close()
        shutil.rmtree(HOME, ignore_errors=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
