"""A private test bed: Open vSwitch, our process and dockerd in a world of their own."""

import json
import re
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any, Self

from tests.e2e import image
from tests.e2e.world import PATIENCE, CommandError, Program, Result, World, until

DATABASE = "unix:/run/openvswitch/db.sock"
PLUGIN_DIR = "/run/docker/plugins"
RUN_DIR = "/run/ovsnet"

OUTSIDE4 = "192.0.2.2"
OUTSIDE6 = "2001:db8:ffff::2"
WAN4 = "192.0.2.1"
WAN6 = "2001:db8:ffff::1"
OUTSIDE_PORT = 8080

DATAPATH = "system" if Path("/sys/module/openvswitch").is_dir() else "netdev"
"""Open vSwitch's datapath that bridges get here: the kernel's own if it has one."""

_PROGRAM = Path(sys.executable).parent / "ovsnet"
_SOCKET = "/run/docker.sock"


class _Engine(HTTPConnection):
    """Docker's API over its socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("docker", timeout=60 * PATIENCE)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def get(self, path: str) -> Any:
        """Return what is there; OSError if that is nothing."""
        try:
            self.request("GET", path)
            answer = self.getresponse()
            if answer.status != HTTPStatus.OK:
                raise FileNotFoundError(path)
            return json.loads(answer.read())
        except HTTPException as error:
            raise ConnectionError(path) from error
        finally:
            self.close()


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program of a bed, and what starts it and waits until it is ready."""

    program: Program
    start: Callable[[], None]

    def stop(self, number: Signals = SIGTERM) -> None:
        """End it by a signal, if it runs."""
        self.program.stop(number, timeout_s=90)

    def restart(self, number: Signals = SIGTERM) -> None:
        """End it by a signal and start it again."""
        self.stop(number)
        self.start()


class Bed(World):
    """Open vSwitch, the plugin and dockerd, in the order that a machine starts them.

    Beyond them a second namespace, ``outside``, stands for the world beyond the host's uplink
    ``wan0``: it answers ping, and HTTP with the address it sees the client at. Its only routes
    are those of the uplink's own subnets, so it can answer masqueraded clients and no others.
    """

    def __init__(
        self,
        *,
        settings: str = "",
        docker_settings: Mapping[str, object] | None = None,
        plugin: Sequence[str] = (),
        docker: bool = True,
    ) -> None:
        """Describe a bed.

        Args:
            settings: content of our configuration file.
            docker_settings: content of dockerd's.
            plugin: another command than ``ovsnet serve …``.
            docker: without, only the test itself speaks to our process.
        """
        super().__init__()
        self.has_docker = docker
        self.settings = self.home / "ovsnet.toml"
        self.settings.write_text(settings)
        self.state_dir = self.home / "state"
        self.ovsdb = Program(
            self,
            "ovsdb-server",
            *(
                "ovsdb-server",
                str(self.home / "conf.db"),
                "--remote=punix:/run/openvswitch/db.sock",
            ),
            *("--remote=db:Open_vSwitch,Open_vSwitch,manager_options", "-vconsole:info"),
            *("--unixctl=/run/openvswitch/ovsdb.ctl", "-vsyslog:off"),
        )
        self.vswitchd = Program(
            self,
            "ovs-vswitchd",
            *("ovs-vswitchd", DATABASE, "-vconsole:info", "-vsyslog:off"),
            "--unixctl=/run/openvswitch/vswitchd.ctl",
        )
        self.plugin = Program(self, "plugin", *(plugin or self.serve()))
        self.dockerd = Program(
            self,
            "dockerd",
            *("dockerd", f"--host=unix://{_SOCKET}", f"--data-root={self.home}/docker"),
            *(f"--cgroup-parent=/{self.name}", f"--config-file={self.home}/daemon.json"),
        )
        (self.home / "daemon.json").write_text(json.dumps(docker_settings or {}))
        self.outside = ""

    def serve(self, **flags: str) -> tuple[str, ...]:
        """Return the command line of our process; ``flags`` replace the bed's own."""
        said = {
            "config": str(self.settings),
            "plugin_dir": PLUGIN_DIR,
            "run_dir": RUN_DIR,
            "state_dir": str(self.state_dir),
            "ovsdb": DATABASE,
        } | flags
        options = (f"--{name.replace('_', '-')}={value}" for name, value in said.items())
        return (str(_PROGRAM), "serve", *options)

    @property
    def daemons(self) -> dict[str, Daemon]:
        """Every daemon by name, in the order in which a machine starts them."""
        found = {
            "ovsdb-server": Daemon(self.ovsdb, self.start_ovsdb),
            "ovs-vswitchd": Daemon(self.vswitchd, self.start_vswitchd),
            "ovsnet": Daemon(self.plugin, self.start_plugin),
        }
        return found | (
            {"dockerd": Daemon(self.dockerd, self.start_docker)} if self.has_docker else {}
        )

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.add_outside()
            self.start_switch()
            self.start_plugin()
            if self.has_docker:
                self.start_docker()
                self.import_image()
        except BaseException:
            print(self.logs())  # noqa: T201
            self.close()
            raise
        return self

    def start_switch(self) -> None:
        """Start ovsdb-server and ovs-vswitchd, with a new database if there is none."""
        self.run("mkdir", "-p", "/run/openvswitch", "/run/docker/plugins")
        if not (self.home / "conf.db").exists():
            schema = "/usr/share/openvswitch/vswitch.ovsschema"
            self.run("ovsdb-tool", "create", str(self.home / "conf.db"), schema)
        self.start_ovsdb()
        self.start_vswitchd()

    def start_ovsdb(self) -> None:
        """Start ovsdb-server."""
        self.run("rm", "-f", "/run/openvswitch/db.sock")
        self.ovsdb.start()
        until(
            lambda: self.attempt("ovs-vsctl", "--timeout=5", "--no-wait", "init").code == 0,
            lambda: f"ovsdb-server answers\n{self.ovsdb.said()}",
        )

    def start_vswitchd(self) -> None:
        """Start ovs-vswitchd and wait until it has taken the configuration."""
        control = "/run/openvswitch/vswitchd.ctl"
        self.run("rm", "-f", control)
        self.vswitchd.start()
        until(
            lambda: (
                self.attempt("ovs-appctl", "--timeout=5", "-t", control, "version").code == 0
                and self.ovs_vsctl("get", "Open_vSwitch", ".", "datapath_types") != "[]"
            ),
            lambda: f"ovs-vswitchd answers\n{self.vswitchd.said()}",
        )

    def start_plugin(self) -> None:
        """Start our process and wait until it answers."""
        self.plugin.start()
        self.wait_for_plugin()

    def wait_for_plugin(self) -> None:
        """Wait until our process answers on both sockets."""
        for name in ("ovsnet", "ovsipam"):
            until(
                partial(self._answers_or_ended, name),
                lambda: f"both sockets answer\n{self.plugin.said()}",
            )
        assert self.plugin.running, self.plugin.said()

    def _answers_or_ended(self, name: str) -> bool:
        return self.activates(name) or not self.plugin.running

    def activates(self, name: str) -> bool:
        """Whether a plugin answers Docker's greeting."""
        return "Implements" in self.post(name, "Plugin.Activate")

    def post(self, name: str, call: str, body: str = "", *, timeout_s: int = 30) -> str:
        """Call a plugin as dockerd does and return the answer's body, whatever its status."""
        request = (
            f"POST /{call} HTTP/1.1\r\nHost: plugin.moby.localhost\r\n"
            f"Content-Length: {len(body.encode())}\r\nConnection: close\r\n\r\n{body}"
        )
        program = (sys.executable, str(Path(__file__).parent / "ask.py"))
        socket = f"{PLUGIN_DIR}/{name}.sock"
        return self.attempt(*program, socket, stdin=request, timeout_s=timeout_s).out

    def revive(self) -> None:
        """Start again what a test that failed has left stopped."""
        for daemon in self.daemons.values():
            if not daemon.program.running:
                daemon.start()

    def restart_plugin(self, number: Signals = SIGTERM) -> None:
        """End our process by a signal and start it again."""
        self.plugin.stop(number)
        self.start_plugin()

    def start_docker(self) -> None:
        """Start dockerd and wait until its API answers."""
        self.dockerd.start()
        self.wait_for_docker()

    def wait_for_docker(self) -> None:
        """Wait until dockerd's API answers."""
        until(
            lambda: self.attempt("docker", "version").code == 0 or not self.dockerd.running,
            lambda: f"dockerd answers\n{self.dockerd.said()}",
            timeout_s=120,
        )
        assert self.dockerd.running, self.dockerd.said()

    def import_image(self) -> None:
        """Give dockerd the image of all containers."""
        self.run("docker", "import", "-", image.NAME, stdin=image.archive())

    def warm_docker_up(self) -> None:
        """Have Docker do what it does once and never undoes: it switches IPv6 forwarding on.

        Engine 26 does so with its first IPv6 network, 28 with that network's first container.
        """
        self.docker("network", "create", "--ipv6", "--subnet", "fd00:77:ff::/64", "first")
        self.docker("run", "--rm", "--network", "first", image.NAME, "true")
        self.docker("network", "rm", "first")

    @cached_property
    def engine(self) -> int:
        """The major version of dockerd, for what engines do differently."""
        found = re.search(r"version (\d+)", self.run("dockerd", "--version"))
        assert found is not None
        return int(found[1])

    def docker(self, *args: str, timeout_s: int = 120) -> str:
        """Run ``docker`` and return what it prints; CommandError if it refuses."""
        return self.run("docker", *args, timeout_s=timeout_s)

    def docker_refuses(self, *args: str, timeout_s: int = 120) -> str:
        """Run ``docker``, which must fail, and return the text that the user sees."""
        result = self.attempt("docker", *args, timeout_s=timeout_s)
        assert result.code not in (0, 124, 137), f"docker {' '.join(args)}: {result}"
        return result.err

    def inspect(self, *args: str) -> Any:
        """Return the only element of ``docker … inspect …``.

        The engine is asked itself if it can be: tests do it all the time, and ``docker`` is slow.
        """
        path = f"/networks/{args[-1]}" if args[0] == "network" else f"/containers/{args[-1]}/json"
        try:
            return self.ask_docker(path)
        except OSError:
            (found,) = json.loads(self.docker(*args))
            return found

    def ask_docker(self, path: str) -> Any:
        """Return what Docker's API has at a path; OSError if it has or says nothing."""
        return _Engine(self.outer_path(_SOCKET)).get(path)

    def ovsnet(self, *args: str) -> str:
        """Run our own command line and return what it prints."""
        return self.run(str(_PROGRAM), *args)

    def try_ovsnet(self, *args: str, stdin: str = "") -> Result:
        """Run our own command line, which may fail."""
        return self.attempt(str(_PROGRAM), *args, stdin=stdin)

    def ovs_vsctl(self, *args: str) -> str:
        """Run ``ovs-vsctl``."""
        return self.run("ovs-vsctl", "--timeout=20", *args)

    def ip(self, *args: str, netns: str | None = None) -> str:
        """Run ``ip``."""
        return self.run("ip", *args, netns=netns)

    def nft(self, *args: str) -> str:
        """Run ``nft``."""
        return self.run("nft", *args)

    def sysctl(self, name: str) -> str:
        """Return a kernel setting of the world's own network namespace."""
        return self.run("cat", f"/proc/sys/{name}")

    def logs(self, lines: int = 60) -> str:
        """Return the last lines of every program's log, for people who look for a fault."""
        parts = []
        for log in sorted(self.home.glob("*.log")):
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"----- {log.name}", *tail]))
        return "\n".join(parts)

    def add_outside(self) -> None:
        """Wire the host to the world, which is a namespace that serves."""
        self.outside = self.add_namespace("outside")
        link = ("ip", "link", "add", "wan0", "type", "veth")
        self.run(*link, "peer", "name", "eth0", "netns", "outside")
        for netns, device, v4, v6 in (
            (None, "wan0", WAN4, WAN6),
            (self.outside, "eth0", OUTSIDE4, OUTSIDE6),
        ):
            self.ip("address", "add", f"{v4}/24", "dev", device, netns=netns)
            self.ip("address", "add", f"{v6}/64", "dev", device, "nodad", netns=netns)
            self.ip("link", "set", device, "up", netns=netns)
        self.ip("route", "add", "default", "via", OUTSIDE4)
        self.ip("-6", "route", "add", "default", "via", OUTSIDE6)
        server = Program(
            self,
            "outside",
            *(sys.executable, str(Path(__file__).parent / "mirror.py"), str(OUTSIDE_PORT)),
            netns=self.outside,
        )
        server.start()
        until(lambda: "listening" in server.said(), "the outside's server listens")


__all__ = ["Bed", "CommandError"]
