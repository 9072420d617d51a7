"""The hosts of a fleet: who lives, what each has of the segments, and the end of one that died."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from netaddr import IPAddress

from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.errors import ConflictError, DriverError, UnavailableError, UnknownObjectError
from ovsdriver.ports import Chassis, Journal, Northbound, SharedLease, Southbound, SouthboundView
from ovsdriver.service.fleet.debts import Debts, FreedLease

log = logging.getLogger(__name__)

ANSWER_S = 3.0
"""How long hosts are waited for that were asked for a sign of life; those that live need 0.1 s."""
_AGAIN_S = 0.1
_AT_ONCE = 500
"""Leases that are read before others get their turn: about 15 ms."""
_ALIKE_S = 1.0
"""Clocks that differ less are not told: a sign of life has some way to go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetHost:
    """A host of the fleet."""

    name: str
    here: bool
    """It is this one."""
    address: str
    """Of its end of the tunnels; empty if OVN does not know the host."""
    answers: bool | None
    """Its controller answered just now; None: it could not be asked."""
    seen: float | None
    """Its last sign of life, in seconds since the epoch; None: none is known."""
    segments: tuple[str, ...]
    """On which it has networks."""
    leases: int
    ahead_s: float = 0.0
    """Seconds that its clock is ahead of this host's, if that can be told; negative: behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """All hosts, and why one does not know more of them."""

    hosts: tuple[FleetHost, ...]
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenHost:
    """What was taken from a host that died."""

    name: str
    leases: tuple[SharedLease, ...]
    registered: bool | None
    """OVN still has it, since no host may take that away; None: that could not be asked."""


class FleetHosts:
    """Asks both databases when a person does. Nothing goes on in the background."""

    def __init__(
        self,
        *,
        northbound: Northbound,
        southbound: Southbound,
        debts: Debts,
        host: Callable[[], str],
        journal: Journal,
        clock: Callable[[], float],
        answer_s: float = ANSWER_S,
    ) -> None:
        """``host``: this one's name in the fleet; UnavailableError while it is not known.

        ``clock`` gives seconds since the epoch.
        """
        self._clock = clock
        self._journal = journal
        self.northbound = northbound
        self.southbound = southbound
        self.debts = debts
        self.host = host
        self._answer_s = answer_s

    async def held(self, segment: str) -> Sequence[SharedLease]:
        """Return who holds addresses of a segment, by address, but what this host is releasing."""
        found = []
        numbers = [
            (family, number)
            for family in (4, 6)
            for number in self.northbound.held(segment, family)
        ]
        for count, (family, number) in enumerate(numbers):
            if count % _AT_ONCE == 0:
                await asyncio.sleep(0)
            address = IPAddress(number, family)
            lease = self.northbound.lease(segment, address)
            if lease is not None and not self.debts.freed(segment, address, lease.serial):
                found.append(lease)
        return found

    def count(self, segment: str) -> int:
        """Return how many ``held`` would return."""
        leaving = (each for each in self.debts.waiting() if isinstance(each, FreedLease))
        leases = (
            self.northbound.lease(segment, each.address)
            for each in leaving
            if each.segment == segment
        )
        gone = (
            each is not None and self.debts.freed(segment, each.address, each.serial)
            for each in leases
        )
        held = sum(len(self.northbound.held(segment, family)) for family in (4, 6))
        return held - sum(gone)

    async def look(self) -> Fleet:
        """Return all hosts that either database has, with who of them answers now."""
        why = []
        began = self._clock()
        chassis: dict[str, Chassis] = {}
        answers: dict[str, bool] = {}
        try:
            before = after = await self.southbound.read()
            try:
                await self.northbound.call()
                after = await self._answered(before)
            except DriverError as error:
                why.append(str(error))
            chassis = {each.name: each for each in after.chassis}
            if after.called > before.called:
                answers = {each.name: each.heard > before.called for each in after.chassis}
            elif not why:
                why.append("OVN's northd does not pass on what hosts are asked; does it run?")
        except DriverError as error:
            why.append(str(error))
        pools, leases = await self._of_hosts()
        hosts = [
            self._host(name, chassis.get(name), answers.get(name), pools, leases)
            for name in sorted({*chassis, *pools, *leases})
        ]
        return Fleet(
            hosts=tuple(
                replace(each, ahead_s=_ahead(chassis[each.name].at, began, self._clock()))
                if each.answers
                else each
                for each in hosts
            ),
            why="; ".join(why),
        )

    async def forget(self, name: str, *, force: bool = False) -> ForgottenHost:
        """Give a host's addresses back, and have OVN forget it.

        Raises:
            ConflictError: it is this one, or it answers and ``force`` is not said.
            UnknownObjectError: there is no such host.
            UnavailableError: the northbound database does not answer; some may be done.
        """
        if name == self.host():
            raise ConflictError(
                f"{name} is this host; remove its containers and networks with docker, or type "
                "this on another host"
            )
        there = await self.look()
        known = next((each for each in there.hosts if each.name == name), None)
        if known is None:
            raise UnknownObjectError(
                f"no host {name!r} has anything in the fleet; `ovsnet host ls` lists those that do"
            )
        if known.answers and not force:
            raise ConflictError(
                f"host {name} answers, so nothing was forgotten; stop its containers there, or add "
                "--force"
            )
        leases = await self.northbound.forget_host(name)
        attributes = {"host": name, "leases": str(len(leases))}
        forgotten = Happening(EventType.HOST, "forgotten", attributes=attributes)
        self._journal.tell(forgotten, level=logging.WARNING)
        registered: bool | None = None
        try:
            registered = not await self.southbound.forget(name)
        except DriverError as error:
            log.warning("host.still-registered", extra={"host": name, "why": str(error)})
        return ForgottenHost(name=name, leases=tuple(leases), registered=registered)

    async def _answered(self, before: SouthboundView) -> SouthboundView:
        """Read until every host has answered a later call than ``before``'s, or time is up."""
        view = before
        loop = asyncio.get_running_loop()
        until = loop.time() + self._answer_s
        while loop.time() < until:
            view = await self.southbound.read()
            if view.called > before.called and all(
                each.heard > before.called for each in view.chassis
            ):
                break
            await asyncio.sleep(_AGAIN_S)
        return view

    async def _of_hosts(self) -> tuple[dict[str, set[str]], dict[str, list[SharedLease]]]:
        pools: dict[str, set[str]] = {}
        leases: dict[str, list[SharedLease]] = {}
        for segment in tuple(self.northbound.segments().values()):
            for pool in segment.pools:
                pools.setdefault(pool.host, set()).add(segment.name)
            for lease in await self.held(segment.name):
                if lease.host:
                    leases.setdefault(lease.host, []).append(lease)
        return pools, leases

    def _host(
        self,
        name: str,
        chassis: Chassis | None,
        answers: bool | None,
        pools: dict[str, set[str]],
        leases: dict[str, list[SharedLease]],
    ) -> FleetHost:
        here = ""
        with suppress(UnavailableError):
            here = self.host()
        held = leases.get(name, [])
        signs = [each.created for each in held]
        if chassis is not None:
            signs.append(chassis.at)
        return FleetHost(
            name=name,
            here=name == here,
            address=chassis.address if chassis is not None else "",
            answers=answers,
            seen=max(signs, default=0.0) or None,
            segments=tuple(sorted(pools.get(name, ()))),
            leases=len(held),
        )


def _ahead(at: float, began: float, ended: float) -> float:
    """Return how far a clock is ahead that showed ``at`` between two moments of this host's."""
    if at > ended + _ALIKE_S:
        return at - ended
    return min(0.0, at - began) if at < began - _ALIKE_S else 0.0
