"""NICs in memory, on the same links as ``FakeLinks``; tests/contract/test_nics.py holds them."""

from dataclasses import replace

from ovsdriver.domain.uplink_notes import NicState
from ovsdriver.errors import UnavailableError
from tests.fakes.links import FakeLinks


class FakeNics:
    """The port ``Nics``."""

    def __init__(self, links: FakeLinks) -> None:
        self._links = links
        self._states: dict[str, NicState] = {}

    async def state(self, nic: str) -> NicState | None:
        link = (await self._links.links()).get(nic)
        if link is None:
            return None
        return replace(self._states.get(nic, NicState()), up=link.up)

    async def take(self, nic: str) -> None:
        before = await self.state(nic)
        if before is None:
            raise UnavailableError(f"NIC {nic} is not there")
        self._states[nic] = replace(
            before,
            arp=False,
            rp_filter=before.rp_filter or 1,
            disable_ipv6=None if before.disable_ipv6 is None else 1,
        )
        self._links.set_link(nic, up=True)

    async def give_back(self, nic: str, before: NicState) -> bool:
        if nic not in await self._links.links():
            return False
        self._states[nic] = before
        self._links.set_link(nic, up=before.up)
        return True
