"""What an aspect finds is mended, or only said; and when each of them is asked."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from ovsdriver import assembly
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.errors import UnavailableError
from ovsdriver.service.aspects.aspect import Aspect, Finding, never
from ovsdriver.service.attach.typed_names import TypedNames
from ovsdriver.words.changes import OtherOptions
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host


class Colour(Aspect):
    """A wall that is to be white, and what is asked of it."""

    name = "wall"

    def __init__(self, *findings: Finding) -> None:
        self.findings = findings
        self.painted = 0
        self.dry = True

    async def find(self) -> Sequence[Finding]:
        if not self.dry:
            raise UnavailableError("it is dark")
        return self.findings

    async def paint(self) -> bool:
        self.painted += 1
        return self.painted == 1

    async def spill(self) -> bool:
        raise UnavailableError("no paint is left")


@pytest.mark.parametrize("mend", [True, False])
async def test_what_cannot_be_looked_at_is_a_failure_by_the_aspects_name(mend: bool) -> None:
    wall = Colour()
    wall.dry = False
    assert (await wall.look(mend=mend)).failed == ["wall: it is dark"]


async def test_a_dry_run_says_what_would_be_mended_and_mends_nothing() -> None:
    wall = Colour()
    wall.findings = (
        Finding(what="the wall is red", mend=wall.paint),
        Finding(what="the wall may be red", mend=wall.paint, amiss=never),
        Finding(what="the wall is somebody's"),
        Finding(what="the back was not seen", unseen=True),
    )
    seen = await wall.look(mend=False)
    assert (seen.found, seen.mended) == (["the wall is red"], [])
    assert seen.beyond == ["the wall is somebody's"]
    assert seen.failed == ["the back was not seen"]
    assert wall.painted == 0


async def test_only_what_was_amiss_is_told_as_mended_and_in_its_own_words() -> None:
    wall = Colour()
    wall.findings = (
        Finding(what="the wall is red", mended="the wall was red", mend=wall.paint),
        Finding(what="the wall may be red", mend=wall.paint, amiss=never),
    )
    assert (await wall.look(mend=True)).mended == ["the wall was red"]
    assert wall.painted == 2


async def test_a_failure_does_not_keep_what_comes_behind_it_from_being_mended() -> None:
    wall = Colour()
    wall.findings = (
        Finding(what="the wall is red", about="painting", mend=wall.spill),
        Finding(what="the door is red", mend=wall.paint),
    )
    seen = await wall.look(mend=True)
    assert seen.failed == ["painting: no paint is left"]
    assert seen.mended == ["the door is red"]


class Noted(TypedNames):
    """The last aspect of the product, which notes what it is asked."""

    asked: ClassVar[list[str]] = []


MOMENTS = [
    *("check", "ensure", "joined", "unplugging", "unplugged", "left", "forget"),
    *("check_network", "ensure_network", "remove_network", "find", "clear"),
]


def noting(moment: str) -> Callable[..., Awaitable[Sequence[Finding]]]:
    async def asked(_self: Noted, *_: object) -> Sequence[Finding]:
        Noted.asked.append(moment)
        return ()

    return asked


async def test_each_moment_of_networks_endpoints_repairs_and_purges_asks_every_aspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "TypedNames", Noted)
    for moment in MOMENTS:
        monkeypatch.setattr(Noted, moment, noting(moment), raising=False)
    monkeypatch.setattr(Noted, "asked", [])
    host = await Host.start(tmp_path)

    async def asked_by(work: Awaitable[object]) -> list[str]:
        Noted.asked.clear()
        await work
        return list(Noted.asked)

    assert await asked_by(host.create_network()) == ["check_network", "ensure_network"]
    assert await asked_by(host.run_container()) == ["check", "ensure", "joined"]
    assert await asked_by(host.reconciler.look()) == ["find"]
    host.switch.drop_port(names.host_link(EndpointId(FIRST)))
    assert await asked_by(host.reconciler.reconcile()) == ["ensure", "find"]
    changed = host.changes.endpoint(EndpointId(FIRST), OtherOptions(typed={"ovs.rate": "10Mbit"}))
    assert await asked_by(changed) == ["check", "ensure"]
    left = host.endpoints.leave(NetworkId(RED), EndpointId(FIRST))
    assert await asked_by(left) == ["unplugging", "unplugged", "left"]
    deleted = host.endpoints.delete(NetworkId(RED), EndpointId(FIRST))
    assert await asked_by(deleted) == ["unplugging", "unplugged", "forget"]
    assert await asked_by(host.networks.delete(NetworkId(RED))) == ["remove_network"]
    assert await asked_by(host.purge.run(switch_wait_s=1)) == ["clear"]
    await host.stop()
