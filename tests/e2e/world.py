"""A private corner of this machine: own network, mount and process namespaces.

Everything that a test bed starts lives in here. The namespaces have one keeper, which reads from
a pipe that this process holds: when this process ends, however it ends, the pipe closes, the
keeper ends, and the kernel ends everything else in its process namespace. The links and mounts
go with it, so nothing can be left on the machine.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import SIGCONT, SIGTERM, Signals
from typing import Self

# /run is the world's own, so every program finds its default paths and none of the machine's.
# /sys shows the links of the namespace that mounted it: a new one, with the old one's cgroups,
# which dockerd needs. The loop also makes bash the reaper of daemons that lost their parent.
_KEEPER = """
set -e
mkdir "$1/cgroup"
mount --rbind /sys/fs/cgroup "$1/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$1/cgroup" /sys/fs/cgroup
umount -l "$1/cgroup"
rmdir "$1/cgroup"
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/netns
for private in /etc/docker /etc/firewalld /etc/ovsnet /etc/openvswitch; do
    if [ -d "$private" ]; then mount -t tmpfs tmpfs "$private"; fi
done
if [ -e /etc/resolv.conf ]; then
    echo 'nameserver 192.0.2.53' >/run/resolv.conf
    mount --bind /run/resolv.conf /etc/resolv.conf
fi
ip link set lo up
echo ready
while read -r _; do :; done
"""

_UNSHARE = (
    *("unshare", "--net", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)

PATIENCE = float(os.environ.get("TESTS_PATIENCE", "1"))
"""How many times longer than usual everything may take: an emulated machine is slow."""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class CommandError(AssertionError):
    """A command inside a world ended with another code than 0."""

    def __init__(self, argv: tuple[str, ...], result: "Result") -> None:
        self.result = result
        super().__init__(f"{' '.join(argv)}\nexit code {result.code}\n{result.err}{result.out}")


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said; both texts without the white space around them."""

    code: int
    out: str
    err: str


def until(
    condition: Callable[[], object], what: str | Callable[[], str], *, timeout_s: float = 30
) -> None:
    """Wait for ``condition``; the bound is generous, so that only a fault ever meets it."""
    timeout_s *= PATIENCE
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            text = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {timeout_s:g} s: {text}")
        time.sleep(0.05)


class World:
    """The namespaces, and ways to run things inside."""

    def __init__(self, prefix: str = "e2e-") -> None:
        self.home = Path(tempfile.mkdtemp(prefix=prefix))
        self._keeper: subprocess.Popen[str] | None = None
        self._init = 0
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def name(self) -> str:
        """Distinct among all worlds of the machine."""
        return self.home.name

    @property
    def on(self) -> bool:
        """Whether it is there: made, and not ended since."""
        return self._keeper is not None

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def power_on(self) -> None:
        """Make the namespaces, with nothing in them; what is in ``home`` stays as it is."""
        self._keeper = subprocess.Popen(
            (*_UNSHARE, "bash", "-c", _KEEPER, "keeper", str(self.home)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": _PATH, "LC_ALL": "C.UTF-8"} | _marker(),
            start_new_session=True,  # Ctrl-C is for pytest, which then ends the world in order
        )
        assert self._keeper.stdout is not None
        if self._keeper.stdout.readline() != "ready\n":
            self.close()
            raise RuntimeError("no namespaces: this needs root and unshare, mount, ip")
        outer = self._keeper.pid
        self._init = int(Path(f"/proc/{outer}/task/{outer}/children").read_text())

    def __exit__(self, *_: object) -> None:
        self.close()

    def power_off(self) -> None:
        """End everything inside at once, as a machine does whose power fails; the disk stays."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            assert keeper.stdin is not None
            assert keeper.stdout is not None
            keeper.stdin.close()
            keeper.wait(timeout=60 * PATIENCE)
            keeper.stdout.close()
            for program in self._started:
                program.wait(timeout=60 * PATIENCE)
            self._started.clear()
        self._remove_cgroups()

    def close(self) -> None:
        """End everything inside, and forget the files."""
        self.power_off()
        # the mounts of the last process may be gone a moment later than the process
        for _ in range(50):
            shutil.rmtree(self.home, ignore_errors=True)
            if not self.home.exists():
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.home} could not be removed")

    def _remove_cgroups(self) -> None:
        top = Path("/sys/fs/cgroup")
        for root in (top / self.name, *top.glob(f"*/{self.name}")):
            for folder, _, _ in os.walk(root, topdown=False):
                until(partial(_rmdir, Path(folder)), f"{folder} is empty")

    def enter(self, *argv: str, netns: str | None = None) -> tuple[str, ...]:
        """Return the command that runs ``argv`` inside.

        Args:
            argv: program and arguments.
            netns: path of another network namespace, as it is called inside.
        """
        net = f"--net={self.outer_path(netns)}" if netns else "--net"
        return ("nsenter", "-t", str(self._init), "-m", net, "-p", "--", *argv)

    def attempt(
        self, *argv: str, netns: str | None = None, stdin: str | bytes = "", timeout_s: int = 60
    ) -> Result:
        """Run a command inside and return what it said, whatever it was.

        After ``timeout_s`` it is ended (exit code 124; 137 if it had to be killed).
        """
        timeout_s = round(timeout_s * PATIENCE)
        bounded = ("timeout", "-k", "2", str(timeout_s), *argv)
        done = subprocess.run(
            self.enter(*bounded, netns=netns),
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            check=False,
            cwd="/",
            env=self.environment(),
            timeout=timeout_s + 30,
        )
        return Result(done.returncode, _text(done.stdout), _text(done.stderr))

    def run(
        self, *argv: str, netns: str | None = None, stdin: str | bytes = "", timeout_s: int = 60
    ) -> str:
        """Run a command inside and return its output; CommandError if it fails."""
        result = self.attempt(*argv, netns=netns, stdin=stdin, timeout_s=timeout_s)
        if result.code:
            raise CommandError(argv, result)
        return result.out

    def start(self, *argv: str, netns: str | None = None, log: Path) -> subprocess.Popen[bytes]:
        """Start a command inside that need not end before the world does."""
        with log.open("ab") as output:
            program = subprocess.Popen(
                self.enter(*argv, netns=netns),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=self.environment(),
                start_new_session=True,
            )
        self._started.append(program)
        return program

    def outer_path(self, inside: str) -> Path:
        """Return where this process finds what has an absolute path inside."""
        return Path(f"/proc/{self._init}/root{inside}")

    def environment(self) -> dict[str, str]:
        """Return what programs inside find in their environment."""
        return {"PATH": _PATH, "LC_ALL": "C.UTF-8", "HOME": str(self.home)} | _marker()

    def add_namespace(self, name: str) -> str:
        """Make a network namespace beside the world's own and return its path."""
        self.run("ip", "netns", "add", name)
        self.run("ip", "-n", name, "link", "set", "lo", "up")
        return f"/run/netns/{name}"

    def wire_to(self, other: "World", nic: str, far: str = "", *, mac: str = "") -> None:
        """Give both worlds a NIC, the two ends of one wire.

        Args:
            other: where the other end is.
            nic: the name of this world's end.
            far: that of the other; without, the same.
            mac: address of this world's end; without, one at random.
        """
        own = ("ip", "link", "add", nic, *(("address", mac) if mac else ()))
        # from outside of both, where the pids of both are known
        inside = ("nsenter", "-t", str(self._init), "-n", "--")
        peer = ("peer", "name", far or nic, "netns", str(other._init))
        subprocess.run((*inside, *own, "type", "veth", *peer), check=True)
        self.run("ethtool", "-K", nic, "tx", "off")
        other.run("ethtool", "-K", far or nic, "tx", "off")


class Program:
    """A daemon inside a world."""

    def __init__(self, world: World, name: str, *argv: str, netns: str | None = None) -> None:
        self._world = world
        self._name = name
        self.command = argv
        self._netns = netns
        self._outer: subprocess.Popen[bytes] | None = None
        self.log = world.home / f"{name}.log"
        self.pid = 0
        """As seen inside of the world."""

    @property
    def running(self) -> bool:
        """Whether it has been started and not ended since."""
        return self._outer is not None and self._outer.poll() is None

    def start(self) -> None:
        """Start it; it need not be ready on return."""
        assert not self.running, f"{self._name} runs"
        note = self._world.home / f"{self._name}.pid"
        note.unlink(missing_ok=True)
        said = ("sh", "-c", 'echo $$ >"$0.new"; mv "$0.new" "$0"; exec "$@"', str(note))
        self._outer = self._world.start(*said, *self.command, netns=self._netns, log=self.log)
        until(lambda: note.exists() or not self.running, f"{self._name} has started")
        self.pid = int(note.read_text())

    def signal(self, number: Signals) -> None:
        """Send a signal."""
        self._world.run("kill", f"-{number.value}", str(self.pid))
        if number is SIGCONT and self._outer is not None:
            self._outer.send_signal(number)  # nsenter stopped with it, and does not see it go on

    def wait(self, timeout_s: float = 30) -> int:
        """Wait for its end and return its code; killed by a signal: 128 and the signal's number."""
        assert self._outer is not None
        code = self._outer.wait(timeout=timeout_s * PATIENCE)
        return 128 - code if code < 0 else code

    def stop(self, number: Signals = SIGTERM, *, timeout_s: float = 30) -> int:
        """Signal it, wait for its end, and return its code; not running: 0."""
        if not self.running:
            return 0
        self.signal(number)
        return self.wait(timeout_s)

    def said(self) -> str:
        """Return all that it has written."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def _marker() -> dict[str, str]:
    """Return the variable by which tests/run knows the processes of its own run."""
    return {k: v for k, v in os.environ.items() if k == "TESTS_RUN_ID"}


def _text(output: bytes) -> str:
    return output.decode(errors="replace").strip()


def _rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
