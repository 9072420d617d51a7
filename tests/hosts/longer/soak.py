"""Random things and random faults on three hosts; the held rule after each.

    tests/run soak:hosts                            TESTS_SOAK_MINUTES=30
    TESTS_SOAK_SEED=12345 tests/run soak:hosts      the same choices again

What is chosen depends on the seed alone. When things happen depends on the machine as well, so the
same seed does not give the very same run.
"""

import os
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ovsdriver.domain.records.segments import NAME_SERVER
from tests.e2e.stage import Stage
from tests.e2e.world import Program, until
from tests.faults import hasty
from tests.faults.load import KINDS, Load, User
from tests.hosts import left, segments
from tests.hosts.central import DATABASES
from tests.hosts.fleet import Fleet, at_once
from tests.hosts.host import Host
from tests.hosts.longer.held import wait_until_held
from tests.hosts.longer.inflicted import FAULTS, PERMITTED, Fault

pytestmark = [pytest.mark.docker, pytest.mark.ovn]

MINUTES = float(os.environ.get("TESTS_SOAK_MINUTES", "30"))
SEED = int(os.environ.get("TESTS_SOAK_SEED", "") or secrets.randbelow(1_000_000))
NETWORKS = ("blue", "red")
_OTHERS = "has active endpoints"
"""Of a network that an earlier user has left behind with his containers."""
USERS = 2
"""On each host."""


class HastyHost(Host):
    """A host whose process is hasty while ``hurried`` says so."""

    def __init__(self, *of: Any, **described: Any) -> None:
        super().__init__(*of, **described)
        command = (sys.executable, str(Path(hasty.__file__)), *self.serve()[1:])
        self.plugin = Program(self, "plugin", "env", f"HASTY_WHILE={self.home}/hasty", *command)


class Member(User):
    """Somebody who joins a segment of his own, as his likes on other hosts do, and leaves it."""

    def create_own(self) -> str:
        number = self._name[-1]
        name = f"own{number}"
        subnet = ("--subnet", f"10.{60 + int(number)}.0.0/24")
        if self._bed.attempt("docker", "network", "inspect", name).code == 0:
            return name  # an earlier user's
        made = self._docker("network", "create", *KINDS, *segments.on(name), *subnet, name)
        return name if made else ""


def test_the_held_rule_outlasts_everything(capsys: pytest.CaptureFixture[str]) -> None:
    def say(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)  # noqa: T201 - who waits for half an hour wants to see it

    say(f"\nsoak of {MINUTES:g} minutes, TESTS_SOAK_SEED={SEED}")
    hosts = dict.fromkeys((1, 2, 3), HastyHost)
    settings = {"dns": [str(NAME_SERVER)]}
    with Fleet(secure=True, docker_settings=settings, kinds=hosts) as fleet:
        at_once(Host.warm_docker_up, fleet.hosts)
        before = left.take(fleet)
        try:
            # the same again for the same seed
            Soak(fleet, Random(SEED), say).run(MINUTES * 60)  # noqa: S311
            at_once(lambda host: Stage(host).clear(), fleet.hosts)
            left.wait_for(fleet, before, "the soak")
        except BaseException:
            say(fleet.logs(60))
            raise


class Soak:
    """The whole of it."""

    def __init__(self, fleet: Fleet, choose: Random, say: Callable[[str], None]) -> None:
        self._fleet = fleet
        self._choose = choose
        self._say = say
        self._done = 0
        self._faults = 0
        self._began = time.monotonic()
        self._stages = [Stage(host) for host in fleet.hosts]
        blue = segments.made(self._stages, "blue", subnet6=segments.SUBNET6)
        segments.made(self._stages, "red", "--internal", subnet4="10.51.0.0/24")
        self._standing = segments.peopled(self._stages, blue)

    def run(self, seconds: float) -> None:
        """Do all faults in an order of chance, again and again."""
        waiting: list[Fault] = []
        while time.monotonic() - self._began < seconds:
            waiting = waiting or self._choose.sample(FAULTS, len(FAULTS))
            self._episode(waiting.pop())
        self._say(f"{self._done} commands, {self._faults} faults")

    def _episode(self, fault: Fault) -> None:
        """Let users work, let a fault happen among them, and see whether all agree."""
        fleet, choose = self._fleet, self._choose
        host = choose.choice(fleet.hosts)
        heard = [len(each.plugin.said()) for each in fleet.hosts]
        at_work = [each for each in fleet.hosts if not (fault.rests and each is host)]
        with ExitStack() as stack:
            loads = [stack.enter_context(self._load(each)) for each in at_work]
            time.sleep(choose.uniform(1, 4))
            fault.do(fleet, host, Random(choose.random()))  # noqa: S311 - see above
            done = [each.done for each in loads]
            until(
                lambda: all(now.done > then + 1 for now, then in zip(loads, done, strict=True)),
                "users get something done",
                timeout_s=300,
            )
        self._done += sum(each.done for each in loads)
        self._faults += 1
        refused = [each for load in loads for each in load.refused(f"{PERMITTED}|{_OTHERS}")]
        assert not refused, f"after {fault.name} of {host.system_id}: {refused}"
        self._recovered()
        said = [each.plugin.said()[was:] for each, was in zip(fleet.hosts, heard, strict=True)]
        crashes = [line for each in said for line in each.splitlines() if "raceback" in line]
        assert not crashes, fault.name
        minutes = (time.monotonic() - self._began) / 60
        done_now = sum(each.done for each in loads)
        self._say(f"{minutes:5.1f} min  {done_now:3} commands  {fault.name} {host.system_id}")
        if choose.random() < 0.5:
            at_once(self._clear, fleet.hosts)

    def _load(self, host: Host) -> Load:
        seed, name = self._choose.randrange(1_000_000), f"h{host.number}f{self._faults}u"
        return Load(host, NETWORKS, seed=seed, users=USERS, name=name, kind=Member)

    def _recovered(self) -> None:
        for database in DATABASES:
            self._fleet.leader(database)
        for stage, each in zip(self._stages, self._standing, strict=True):
            until(
                lambda stage=stage, each=each: (
                    stage.bed.attempt("docker", "start", each.name).code == 0
                ),
                f"{each.name} runs",
                timeout_s=60,
            )
        wait_until_held(self._fleet)
        segments.all_reach_each_other(self._standing, "blue", (4, 6))

    def _clear(self, host: Host) -> None:
        """Remove what users left."""
        kept = {each.name for each in self._standing}
        listed = host.docker("ps", "--all", "--format", "{{.Names}}").split()
        if users := [name for name in listed if name not in kept]:
            host.docker("rm", "--force", *users)
        networks = [each for each in Stage(host).custom_networks() if each not in _KEPT]
        if networks:
            host.docker("network", "rm", *networks)


_KEPT: Sequence[str] = (*NETWORKS, "docker_gwbridge")
