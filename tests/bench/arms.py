"""What is measured side by side: our process and the yardsticks, on one private Open vSwitch."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.dockerd import Docker
from tests.integration.ovs import PrivateOvs
from tests.integration.process import Process, made

YARDSTICKS = ("null", "direct", "fork")
OURS = "ovsnet"

_TICKS = os.sysconf("SC_CLK_TCK")
_PATIENCE_S = 60.0
_TREE = Path(__file__).parents[2]


@dataclass
class Arm:
    """A driver and its process."""

    name: str
    docker: Docker
    pid: int

    def cpu_ms(self) -> float:
        """CPU time of the process so far, with that of its children."""
        return cpu_ms(self.pid)


def cpu_ms(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) * 1000 / _TICKS


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise LookupError(f"process {pid} has ended")


def docker_of(process: Process, options: dict[str, str] | None = None) -> Docker:
    """Return dockerd's part towards our process."""
    plugins = process.plugin_dir
    return Docker(plugins / "ovsnet.sock", plugins / "ovsipam.sock", options=options)


@contextmanager
def arms(ovs: PrivateOvs, names: tuple[str, ...] = (OURS, *YARDSTICKS)) -> Iterator[list[Arm]]:
    """Start drivers by name, each with a process of its own."""
    with ExitStack() as stack:
        started = []
        for name in names:
            if name == OURS:
                process = stack.enter_context(ours(ovs))
                assert process.running is not None
                pid = process.running.pid
                docker = docker_of(process, {"ovs.mode": "isolated"})
            else:
                pid, docker = stack.enter_context(_yardstick(ovs, name))
            started.append(Arm(name, docker, pid))
        yield started


@contextmanager
def ours(ovs: PrivateOvs, *, module: str = "ovsdriver") -> Iterator[Process]:
    """Start our process; ``nsenter`` has become it, so the pid is its own."""
    with made(f"/run/netns/{ovs.namespace}", ovs.address) as process:
        process.module = module
        process.config.write_text('datapath = "netdev"\n')
        process.start()
        process.until(lambda: "process.ready" in process.said(), "it is ready")
        yield process


@contextmanager
def _yardstick(ovs: PrivateOvs, kind: str) -> Iterator[tuple[int, Docker]]:
    path = ovs.folder / f"{kind}.sock"
    process = subprocess.Popen(
        [
            *("nsenter", f"--net=/run/netns/{ovs.namespace}", sys.executable, "-m"),
            *("tests.bench.yardsticks", kind, str(path), str(ovs.socket)),
        ],
        cwd=_TREE,
        env=os.environ | {"OVS_RUNDIR": str(ovs.folder)},
    )
    try:
        end = time.monotonic() + _PATIENCE_S
        while not path.exists():
            assert process.poll() is None, f"{kind} has ended"
            assert time.monotonic() < end, f"{kind} does not listen"
            time.sleep(0.01)
        yield process.pid, Docker(path, path)
    finally:
        process.kill()
        process.wait(_PATIENCE_S)
