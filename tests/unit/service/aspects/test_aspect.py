"""What an aspect finds is mended, or only said."""

from collections.abc import Sequence

import pytest

from ovsdriver.errors import UnavailableError
from ovsdriver.service.aspects.aspect import Aspect, Finding, never


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
