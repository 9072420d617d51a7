"""Faults while containers run and others start and stop: what users notice, and what is left."""

from collections.abc import Iterator
from random import Random

import pytest

from tests.e2e.world import until
from tests.faults import inflicted
from tests.faults.haste import hasty_bed, small_disk
from tests.faults.inflicted import Fault
from tests.faults.lab import NETWORKS, Lab, standing
from tests.faults.load import Load

pytestmark = pytest.mark.docker

SEED = 5

FAULTS = (*inflicted.PLUGIN, *inflicted.SWITCH, *inflicted.BY_HAND, *inflicted.STORE)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with small_disk(hasty_bed()) as bed, standing(bed) as lab:
        yield lab


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_users_notice_no_more_than_they_must_and_all_agree_afterwards(
    lab: Lab, fault: Fault
) -> None:
    lab.bed.revive()
    heard = len(lab.bed.plugin.said())
    with Load(lab.bed, NETWORKS, seed=SEED) as load:
        until(lambda: load.done >= 4, "users are at work")
        fault.do(lab.bed, Random(SEED))  # noqa: S311 - the same again for the same seed
        done = load.done
        until(lambda: load.done >= done + 6, "users go on", timeout_s=120)
    try:
        assert load.refused(fault.permitted) == []
        lab.agrees()
        lab.talks()
        assert lab.crashed(heard) == []
    finally:
        lab.clear()
    lab.agrees()
