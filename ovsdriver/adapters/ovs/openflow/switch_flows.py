"""Flows and meters of single ports, as the services use them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
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
_READY_S = 2.0
"""For so long a conversation waits for who needs it; vswitchd asks after it later than that."""


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
        self._ready: dict[str, tuple[asyncio.Task[Conversation], asyncio.TimerHandle]] = {}
        """Conversations that were begun for who comes next."""

    async def ensure(
        self, bridge: str, wanted: Mapping[int, PortFlows], *, fresh: Collection[int] = ()
    ) -> bool:
        async with self._talk(bridge) as talk:
            questions = {
                number: messages.flows_request(
                    talk.xid(), encoding.cookie(self._owner, number), _ONE
                )
                for number, each in wanted.items()
                if number not in fresh or each.meters
            }
            flows = {
                number: set(_entries_in(bodies))
                for number, bodies in (await talk.ask_all(questions)).items()
            }
            meters = await self._meters(
                talk,
                needed=any(
                    encoding.may_meter(number) and (wanted[number].meters or flows[number])
                    for number in flows
                ),
            )
            ids = frozenset().union(*(encoding.meter_ids(number) for number in wanted))
            return await self._change(
                talk, wanted, flows, {each.id: each for each in meters if each.id in ids}
            )

    def prepare(self, bridge: str) -> None:
        self._discard(bridge)
        loop = asyncio.get_running_loop()
        begun = loop.create_task(conversation(self._socket(bridge)))
        begun.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        self._ready[bridge] = begun, loop.call_later(_READY_S, self._discard, bridge)

    async def differing(
        self, bridge: str, wanted: Callable[[], Mapping[int, PortFlows]]
    ) -> frozenset[int]:
        mark = encoding.mark(self._owner) << 32
        async with self._talk(bridge) as talk:
            flows: dict[int, set[Entry]] = {}
            for each in _entries_in(
                await talk.ask(messages.flows_request(talk.xid(), mark, _MASK))
            ):
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
        wanted: Mapping[int, PortFlows],
        flows: Mapping[int, set[Entry]],
        meters: Mapping[int, MeterEntry],
    ) -> bool:
        # New meters come before the flows that need them, old ones go after; all flows at once.
        # Of whom nobody asked what there is, all goes first.
        metered = {
            each.id: each for number in wanted for each in _meters_of(number, wanted[number])
        }
        made = [
            messages.meter_mod(
                MeterCommand.MODIFY if each.id in meters else MeterCommand.ADD, talk.xid(), each
            )
            for each in metered.values()
            if meters.get(each.id) != each
        ]
        if made:
            await talk.tell(made)
        changes: list[bytes] = []
        for number, port in wanted.items():
            right, present = self._entries(number, port), flows.get(number)
            if present is None:
                everything = Entry(
                    0, encoding.cookie(self._owner, number), frozenset(), b"", messages.ALL_TABLES
                )
                changes.append(_removal(talk, everything, FlowCommand.DELETE))
                present = set()
            changes += [_removal(talk, each) for each in present - right]
            changes += [
                messages.flow_mod(FlowCommand.ADD, talk.xid(), each) for each in right - present
            ]
        if changes:
            await talk.at_once(changes)
        gone = [
            messages.meter_mod(MeterCommand.DELETE, talk.xid(), each)
            for each in meters.values()
            if each.id not in metered
        ]
        if gone:
            await talk.tell(gone)
        return bool(made or gone or changes)

    def _prepared(self, bridge: str) -> Conversation | None:
        """Take what was begun, if it is there and somebody is at its other end."""
        begun, drop = self._ready.pop(bridge, (None, None))
        if begun is None or drop is None:
            return None
        drop.cancel()
        if not begun.done():
            begun.cancel()
        elif begun.exception() is None:
            talk = begun.result()
            if talk.alive:
                return talk
            talk.close()
        return None

    def _discard(self, bridge: str) -> None:
        talk = self._prepared(bridge)
        if talk is not None:
            talk.close()

    async def _refuses_version(self, bridge: str) -> bool:
        """Ask once more, by a greeting alone: what it said is lost if it left a request unread."""
        try:
            async with asyncio.timeout(self._timeout_s):
                with closing(await conversation(self._socket(bridge))) as talk:
                    await talk.greet()
        except WrongVersionError:
            return True
        except (OSError, EOFError, MalformedError, RefusedError):
            pass
        return False

    def _socket(self, bridge: str) -> Path:
        return self._folder / f"{bridge}.mgmt"

    def _entries(self, number: int, wanted: PortFlows) -> set[Entry]:
        return encoding.entries(wanted, owner=self._owner, number=number)

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
            async with asyncio.timeout(self._timeout_s) as limit:
                talk = self._prepared(bridge) or await conversation(self._socket(bridge))
                with closing(talk):
                    if for_good:
                        await talk.greet()
                        limit.reschedule(None)
                    yield talk
        except WrongVersionError as error:
            raise _wrong_version(bridge) from error
        except RefusedError as error:
            raise UnsupportedError(
                f"Open vSwitch refused the flows or meters for a port of bridge {bridge}: {error}"
            ) from error
        except (OSError, EOFError, MalformedError, TimeoutError) as error:
            if isinstance(error, ConnectionError) and await self._refuses_version(bridge):
                raise _wrong_version(bridge) from error
            raise UnavailableError(
                f"ovs-vswitchd does not answer for bridge {bridge} on "
                f"{self._socket(bridge)} ({str(error) or 'no answer in time'})"
            ) from error


def _entries_in(bodies: Sequence[bytes]) -> Iterator[Entry]:
    return (each for body in bodies for each in messages.entries(body))


def _wrong_version(bridge: str) -> UnsupportedError:
    return UnsupportedError(
        f"bridge {bridge} does not speak OpenFlow 1.4, which this needs; type: ovs-vsctl "
        f"add bridge {bridge} protocols OpenFlow14"
    )


def _meters_of(number: int, wanted: PortFlows) -> set[MeterEntry]:
    return {encoding.meter(each, number) for each in wanted.meters}


def _removal(
    talk: Conversation, flow: Entry, how: FlowCommand = FlowCommand.DELETE_STRICT
) -> bytes:
    return messages.flow_mod(how, talk.xid(), flow, cookie_mask=_ONE)
