"""Flows and meters of single ports, as the services use them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ovsdriver.adapters.ovs.openflow import encoding, judging, messages
from ovsdriver.adapters.ovs.openflow.client import (
    Conversation,
    RefusedError,
    WrongVersionError,
    conversation,
)
from ovsdriver.adapters.ovs.openflow.messages import (
    Entry,
    FlowCommand,
    MalformedError,
    MeterCommand,
    MeterEntry,
)
from ovsdriver.domain.records.options.flows import PortFlows, Ruling
from ovsdriver.errors import UnavailableError, UnsupportedError

_MASK = 0xFFFFFFFF << 32
_ONE = 0xFFFFFFFFFFFFFFFF
_NOTHING = PortFlows()


class OvsFlows:
    """Fulfils :class:`ovsdriver.ports.Flows`.

    Each call is a conversation of its own, of some milliseconds: nothing has to be kept alive, and
    a restart of ovs-vswitchd leaves nothing behind.
    """

    def __init__(self, folder: Path, *, owner: str, timeout_s: float = 5.0) -> None:
        """Prepare.

        Args:
            folder: where ovs-vswitchd makes its bridges' management sockets.
            owner: our mark, which becomes a part of the cookies.
            timeout_s: limit for every call.
        """
        self._folder = folder
        self._owner = owner
        self._timeout_s = timeout_s

    async def ensure(self, bridge: str, number: int, wanted: PortFlows) -> bool:
        async with self._talk(bridge) as talk:
            flows = await self._flows(talk, encoding.cookie(self._owner, number), _ONE)
            meters = await self._meters(talk, needed=bool(wanted.meters or flows))
            ids = encoding.meter_ids(number)
            return await self._change(
                talk,
                number,
                wanted,
                flows,
                {each.id: each for each in meters if each.id in ids},
            )

    async def differing(
        self, bridge: str, wanted: Callable[[], Mapping[int, PortFlows]]
    ) -> frozenset[int]:
        mark = encoding.mark(self._owner) << 32
        async with self._talk(bridge) as talk:
            flows: dict[int, set[Entry]] = {}
            for each in await self._flows(talk, mark, _MASK):
                flows.setdefault(each.cookie & _ONE >> 32, set()).add(each)
            meters: dict[int, set[MeterEntry]] = {}
            for one in await self._meters(talk, needed=True):
                if (port := encoding.metered_port(one.id)) is not None:
                    meters.setdefault(port, set()).add(one)
        right = wanted()
        return frozenset(
            number
            for number in {*right, *flows, *meters}
            if flows.get(number, set()) != self._entries(number, right.get(number, _NOTHING))
            or meters.get(number, set()) != _meters_of(number, right.get(number, _NOTHING))
        )

    async def met(
        self, bridge: str, asked: Mapping[int, PortFlows]
    ) -> Mapping[Ruling, tuple[int, int]]:
        mark = encoding.mark(self._owner) << 32
        async with self._talk(bridge) as talk:
            bodies = await talk.ask(messages.flows_request(talk.xid(), mark, _MASK))
        found = {
            entry: (packets, octets)
            for body in bodies
            for entry, packets, octets in messages.counted(body)
        }
        return {
            ruling: found[entry]
            for number, each in asked.items()
            for ruling in each.rulings
            if (entry := judging.ruling(ruling, encoding.cookie(self._owner, number))) in found
        }

    async def attend(self, bridge: str, present: Callable[[], None]) -> None:
        answered = False
        try:
            async with self._talk(bridge, for_good=True) as talk:
                answered = True
                present()
                await talk.listen()
        except UnavailableError:
            if not answered:
                raise

    async def _change(
        self,
        talk: Conversation,
        number: int,
        wanted: PortFlows,
        flows: Iterable[Entry],
        meters: Mapping[int, MeterEntry],
    ) -> bool:
        # New meters come before the flows that need them, old ones go after; all flows at once.
        right = self._entries(number, wanted)
        metered = {each.id: each for each in _meters_of(number, wanted)}
        present = set(flows)
        made = [
            messages.meter_mod(
                MeterCommand.MODIFY if each.id in meters else MeterCommand.ADD, talk.xid(), each
            )
            for each in metered.values()
            if meters.get(each.id) != each
        ]
        if made:
            await talk.tell(made)
        if present != right:
            await talk.at_once(
                [
                    *(_removal(talk, each) for each in present - right),
                    *(
                        messages.flow_mod(FlowCommand.ADD, talk.xid(), each)
                        for each in right - present
                    ),
                ]
            )
        gone = [
            messages.meter_mod(MeterCommand.DELETE, talk.xid(), each)
            for each in meters.values()
            if each.id not in metered
        ]
        if gone:
            await talk.tell(gone)
        return bool(made or gone or present != right)

    def _entries(self, number: int, wanted: PortFlows) -> set[Entry]:
        return encoding.entries(wanted, owner=self._owner, number=number)

    async def _flows(self, talk: Conversation, cookie: int, mask: int) -> Sequence[Entry]:
        bodies = await talk.ask(messages.flows_request(talk.xid(), cookie, mask))
        return [each for body in bodies for each in messages.entries(body)]

    async def _meters(self, talk: Conversation, *, needed: bool) -> Sequence[MeterEntry]:
        """Return all meters; none if the datapath has none to give."""
        if not needed:
            return ()
        try:
            bodies = await talk.ask(messages.meters_request(talk.xid()))
        except RefusedError:
            return ()
        return [each for body in bodies for each in messages.meter_entries(body)]

    @asynccontextmanager
    async def _talk(self, bridge: str, *, for_good: bool = False) -> AsyncIterator[Conversation]:
        try:
            async with (
                asyncio.timeout(self._timeout_s) as limit,
                conversation(self._folder / f"{bridge}.mgmt") as talk,
            ):
                if for_good:
                    await talk.greet()
                    limit.reschedule(None)
                yield talk
        except WrongVersionError as error:
            raise UnsupportedError(
                f"bridge {bridge} does not speak OpenFlow 1.4, which this needs; type: ovs-vsctl "
                f"add bridge {bridge} protocols OpenFlow14"
            ) from error
        except RefusedError as error:
            raise UnsupportedError(
                f"Open vSwitch refused the flows or meters for a port of bridge {bridge}: {error}"
            ) from error
        except (OSError, EOFError, MalformedError, TimeoutError) as error:
            raise UnavailableError(
                f"ovs-vswitchd does not answer for bridge {bridge} on "
                f"{self._folder}/{bridge}.mgmt ({str(error) or 'no answer in time'})"
            ) from error


def _meters_of(number: int, wanted: PortFlows) -> set[MeterEntry]:
    return {encoding.meter(each, number) for each in wanted.meters}


def _removal(talk: Conversation, flow: Entry) -> bytes:
    return messages.flow_mod(FlowCommand.DELETE_STRICT, talk.xid(), flow, cookie_mask=_ONE)
