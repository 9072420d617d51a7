"""The wall clock of our process is set, forwards and back, while users are at work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bed import Bed
from tests.e2e.wire import leases, pools
from tests.e2e.world import Program, until
from tests.faults.haste import hasty_bed
from tests.faults.lab import NETWORKS, Lab, standing
from tests.faults.load import Load

pytestmark = pytest.mark.docker

SEED = 11

HOUR_S = 3600
DAY_S = 24 * HOUR_S


class Clock:
    """The wall clock that the process of a bed sees; what the kernel counts on is not touched."""

    def __init__(self, bed: Bed) -> None:
        self._file = bed.home / "clock"
        (library,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
        self.environment = (
            f"LD_PRELOAD={library}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )
        self.set(0)

    def set(self, ahead_s: int) -> None:
        """Let it be so much ahead of the machine's."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead_s:+d}")
        new.replace(self._file)


@pytest.fixture(scope="module")
def clocked() -> Iterator[tuple[Lab, Clock]]:
    bed = hasty_bed()
    clock = Clock(bed)
    bed.plugin = Program(bed, "plugin", "env", *clock.environment, *bed.plugin.command)
    with bed, standing(bed) as lab:
        yield lab, clock


def test_users_notice_nothing_when_the_clock_is_set(clocked: tuple[Lab, Clock]) -> None:
    lab, clock = clocked
    with Load(lab.bed, NETWORKS, seed=SEED) as load:
        for ahead_s in (2 * HOUR_S, -DAY_S, 40 * DAY_S, 0):
            done = load.done
            clock.set(ahead_s)
            until(lambda done=done: load.done >= done + 4, "users go on", timeout_s=120)
    assert load.refused() == []
    lab.agrees()
    lab.talks()
    lab.clear()
    lab.agrees()


def test_an_address_rests_until_its_time_is_over_and_never_longer(
    clocked: tuple[Lab, Clock],
) -> None:
    lab, clock = clocked
    bed = lab.bed
    kinds = ("--driver", "ovsnet", "--ipam-driver", "ovsipam", "--subnet", "10.77.3.0/24")
    bed.docker("network", "create", *kinds, "--ipam-opt", "ipam.quarantine=1h", "rests")

    def given() -> str:
        """Start a container, end it, and return the address that it had."""
        bed.docker("run", "--detach", "--name", "cat", "--network", "rests", *SLEEP)
        address = str(bed.inspect("inspect", "cat")["NetworkSettings"]["Networks"]["rests"][IP])
        bed.docker("rm", "--force", "cat")
        until(lambda: not held(bed), "its address is free")
        return address

    assert [given() for _ in range(2)] == ["10.77.3.2", "10.77.3.3"]
    clock.set(2 * HOUR_S)
    assert given() == "10.77.3.2", "both have rested enough"
    assert given() == "10.77.3.3"
    assert given() == "10.77.3.4"
    clock.set(-DAY_S)
    assert given() == "10.77.3.2", "what began in a time to come is no reason to wait for it"
    clock.set(0)
    bed.docker("network", "rm", "rests")
    lab.agrees()


IP = "IPAddress"
SLEEP = ("ovsnet-test:1", "sleep", "1000")


def held(bed: Bed) -> list[Any]:
    (pool,) = (each for each in pools(bed) if each["pool"]["subnet"] == "10.77.3.0/24")
    return [each for each in leases(bed, pool["pool"]["id"]) if each["lease"]["kind"] == "endpoint"]
