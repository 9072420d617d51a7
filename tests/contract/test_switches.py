"""The fake of the kernel's forwarding switches against the kernel."""

import random
from collections.abc import Iterator

import pytest

from tests.fakes.switches import FORCE, FakeSwitches
from tests.integration.netns import own_namespace, run
from tests.integration.routed_host import set_sysctl, sysctl

pytestmark = pytest.mark.netns

LINKS = ("lo", "one", "two")


@pytest.fixture
def namespace() -> Iterator[None]:
    with own_namespace():
        run("ip", "link", "add", "one", "type", "veth", "peer", "name", "two")
        yield


@pytest.mark.parametrize("seed", range(8))
def test_the_fake_does_what_the_kernel_does(namespace: None, seed: int) -> None:
    force = bool(sysctl(FORCE))
    fake = FakeSwitches(LINKS, force=force)
    assert {path: sysctl(path) for path in fake.values} == fake.snapshot()
    chance = random.Random(seed)  # noqa: S311 - not for secrets
    for _ in range(60):
        path = chance.choice(sorted(fake.values))
        value = chance.choice("012" if path.endswith("accept_ra") else "01")
        set_sysctl(path, value)
        fake.write(path, value)
        assert {each: sysctl(each) for each in fake.values} == fake.snapshot(), (path, value)
