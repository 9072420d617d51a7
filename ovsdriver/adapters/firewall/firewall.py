"""``ovsdriver.ports.Firewall``: our nftables table, the accepts behind DOCKER-USER, and forwarding.

What blocks (libnftables, netlink, ``/proc/sys``) is done by one worker thread, so it also happens
in the order in which it was asked for. What forks (iptables) is done by ``run``, in the
background. Both belong to the network namespace of the thread that runs the loop.
"""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from ovsdriver.adapters.firewall import chain_readers, iptables_reader, nft_rules
from ovsdriver.adapters.firewall.access import HostAccess
from ovsdriver.adapters.firewall.docker_user import FORWARD, DockerUser, Iptables
from ovsdriver.adapters.firewall.expressions import Object
from ovsdriver.adapters.firewall.nft import Nft, Table
from ovsdriver.adapters.kernel.codec import rtnetlink
from ovsdriver.adapters.kernel.codec.address_messages import addresses
from ovsdriver.adapters.kernel.codec.conntrack import Conntrack
from ovsdriver.adapters.kernel.host.host_network import read_host, read_link
from ovsdriver.adapters.kernel.host.host_watch import HostChange, HostWatch
from ovsdriver.adapters.kernel.host.host_ways import HostWays
from ovsdriver.adapters.kernel.sysctls import Sysctls
from ovsdriver.domain.records.model import Publication
from ovsdriver.domain.records.names import GATEWAY_PREFIX
from ovsdriver.domain.traffic import forwarding
from ovsdriver.domain.traffic.chains import BaseChain, Packet
from ovsdriver.domain.traffic.firewall import (
    FirewallPlan,
    Guard,
    HostNetwork,
    outgoing,
    outside_bridges,
)
from ovsdriver.domain.traffic.foreign_chains import crossing, finding
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import HostNotes

log = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT_S = 8.0
"""For all that the kernel does for one call; a table for 500 networks takes it some 5 ms."""

_SETTLE_S = 0.1
"""Changes come in bursts; one call back serves a burst."""

_LOOK_S = 20.0
"""How long an observation of the host holds if nothing was heard of a change: not everything is
told (a wire plugged into a bridge; iptables-legacy). Less than the reconciler's interval."""


class HostFirewall:
    """The firewall and forwarding of the host's namespace.

    Works as soon as it is made; changes by others are noticed while ``run`` runs.
    """

    def __init__(
        self,
        *,
        instance: str = "ovsnet",
        notes: HostNotes,
        sysctls: Sysctls | None = None,
        iptables: Sequence[Iptables] | None = None,
    ) -> None:
        """Build it; the kernel is not asked for anything yet.

        Args:
            instance: name of our table, of family inet.
            notes: where the old values of switches are kept.
            sysctls: the kernel's switches.
            iptables: those that may have a DOCKER-USER; default: one for each family.
        """
        self._instance = instance
        self._notes = notes
        self._sysctls = sysctls or Sysctls()
        self._iptables = (Iptables(4), Iptables(6)) if iptables is None else iptables
        self._docker_user = DockerUser(instance=instance, tables=self._iptables)
        self._docker_lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="firewall")
        self._thread_id = 0
        self._nft: Nft | None = None
        self._table: Table | None = None
        self._netlink: rtnetlink.RouteSocket | None = None
        self._conntrack: Conntrack | None = None
        self._lock = asyncio.Lock()
        self._cut_lock = asyncio.Lock()
        self._to_cut: set[Publication] = set()
        self._plan = FirewallPlan()
        self._asked = 0
        self._done = 0
        self._host: HostNetwork | None = None
        """None where nobody needed it: without a gateway nothing is forwarded."""
        self._read_links = rtnetlink.Remembered(read_link)
        self._ways = HostWays()
        self._host_from = self._table_from = -_LOOK_S
        self._applied: FirewallPlan | None = None
        self._written: tuple[object, ...] | None = None
        """What the table was made of."""
        self._watched: frozenset[str] = frozenset()
        self._confirmed: Mapping[str, int] = {}
        self._boot_id: str | None = None
        self._accepts: bool | None = None
        self._kept: bool | None = None
        self._accepts_from = -_LOOK_S
        self._upkeep = asyncio.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._gateway_callbacks: list[Callable[[str], None]] = []
        self._carrier_callbacks: list[Callable[[str, bool | None], None]] = []
        self._renewed: set[str] = set()
        self._heard: asyncio.TimerHandle | None = None
        self._watch: HostWatch | None = None
        self.access = HostAccess(
            instance=instance,
            on_thread=self._on_thread,
            nft=lambda: self._open()[0],
            heard=lambda: self._watch is not None,
            on_loss=self.on_loss,
        )
        """The other table, on the same thread and heard of by the same watch."""

    async def ensure(self, plan: FirewallPlan) -> bool:
        """Make table and forwarding as ``plan`` wants them; False if they already were.

        Calls that wait for each other share one change, for the plan of the last of them: it is
        always made of all records, so it holds what the earlier ones wanted.

        Raises:
            UnavailableError: nftables, netlink or /proc/sys did not do it, or not in time.
        """
        self._plan = plan
        self._asked += 1
        mine = self._asked
        changed = False
        async with self._lock:
            if self._done < mine:
                covers, latest = self._asked, self._plan
                changed = await self._apply(latest)
                self._done = covers
        self._ask_for_accepts(wanted=bool(self._plan.gateways))
        return changed

    def preview(self, before: FirewallPlan, after: FirewallPlan) -> Sequence[str]:
        """Return the objects of libnftables that come; of sets, the new elements alone."""
        old, new = (nft_rules.render(each, table=self._instance) for each in (before, after))
        known = {json.dumps(each, sort_keys=True) for each in old}
        lines = [json.dumps(each, sort_keys=True) for each in new]
        return [each for each in lines if each not in known]

    async def differs(self, plan: FirewallPlan) -> bool:
        """Whether :meth:`ensure` would change anything, but for accepts in other people's chains.

        Raises:
            UnavailableError: nftables, netlink or /proc/sys did not answer.
        """
        async with self._lock:
            try:
                seen = await self._on_thread(self._observe, plan, dict(self._notes.notes()))
                decision = forwarding.decide(seen.wanted, seen.switches)
                return decision.writes or not await self._on_thread(
                    self._is_written, plan, seen, decision.guard
                )
            finally:
                # What was seen has not been put right, so it is not what may be relied on.
                self._host_from = self._table_from = -_LOOK_S

    def renewed(self, gateway: str) -> None:
        self._renewed.add(gateway)

    async def cut(self, published: Collection[Publication]) -> None:
        """Have the kernel forget the connections to published ports.

        Calls that wait for each other share one look at the connections.

        Raises:
            UnavailableError: the kernel's conntrack did not answer.
        """
        self._to_cut.update(published)
        async with self._cut_lock:
            if self._to_cut.isdisjoint(published):
                return
            batch = tuple(self._to_cut)
            await self._on_thread(self._cut, batch)
            self._to_cut.difference_update(batch)

    async def remove(self) -> None:
        try:
            await self.ensure(FirewallPlan())
        finally:
            async with self._docker_lock:
                await self._docker_user.remove()

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the loop, soon after others changed what we depend on.

        That is our table, routes, and forwarding switches; heard of while ``run`` runs.
        """
        self._callbacks.append(callback)

    def on_gateway(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` on the loop with the name of a gateway that something happened to.

        By whomever, and perhaps many times; heard of while ``run`` runs.
        """
        self._gateway_callbacks.append(callback)

    def on_carrier(self, callback: Callable[[str, bool | None], None]) -> None:
        self._carrier_callbacks.append(callback)

    async def findings(self) -> Sequence[str]:
        host, gateways, found = await self._on_thread(self._survey)
        for iptables in self._iptables:
            listing = await iptables.listing()
            if listing is None:
                continue
            chain = iptables_reader.from_iptables(
                iptables.program, listing, assume_ours=not gateways
            )
            if await iptables.shows_nftables():
                # The same rules, but iptables says more about them.
                found = [each for each in found if not each.same_place(chain)]
            found.append(chain)
        packets = [packet for family in (4, 6) for packet in _crossing(family, gateways, host)]
        return [text for chain in found if (text := finding(chain, packets))]

    async def run(self) -> None:
        """Watch for changes by others and keep our accepts behind DOCKER-USER, until cancelled.

        Raises:
            UnavailableError: the kernel's notifications cannot be had.
        """
        watch = HostWatch(
            tables={
                self._instance: HostChange.TABLE,
                self.access.table: HostChange.ACCESS,
            },
            chains=(FORWARD,),
            own_thread=lambda: self._thread_id,
            links=lambda: self._watched,
            known=lambda: self._confirmed,
            routes=self._ways,
            changed=self._changed,
            gateway=self._heard_of,
            carrier=self._heard_carrier,
        )
        watch.start()
        self._watch = watch
        self._ways.miss()
        self._host_from = self._table_from = -_LOOK_S
        self.access.doubt()
        self._upkeep.set()
        try:
            while True:
                await self._upkeep.wait()
                self._upkeep.clear()
                await self._keep_accepts()
        finally:
            self._watch = None
            watch.stop()
            if self._heard is not None:
                self._heard.cancel()
                self._heard = None

    async def close(self) -> None:
        """Let go of thread and sockets; rules and switches stay as they are.

        But for accepts that nobody needs any more, if ``run`` was ended before it took them out.
        """
        if self._accepts is False and self._kept is not False:
            await self._keep_accepts()
        await self.access.close()
        with suppress(UnavailableError):
            await self._on_thread(self._close)
        self._thread.shutdown(wait=False)

    async def _apply(self, plan: FirewallPlan) -> bool:
        fresh = self._is_fresh(self._host_from) and self._is_fresh(self._table_from)
        renewed, self._renewed = self._renewed, set()
        if renewed:
            self._confirmed = {k: v for k, v in self._confirmed.items() if k not in renewed}
        if fresh and plan == self._applied and self._confirmed.keys() >= plan.links:
            return False
        seen = await self._on_thread(self._observe, plan, dict(self._notes.notes()))
        if self._watch is not None:
            self._watch.hush(self._ways.busy)
        await self.access.see(seen.outside)
        decision = forwarding.decide(seen.wanted, seen.switches)
        self._applied = None
        outgoing = seen.wanted.outgoing4 | seen.wanted.outgoing6
        self._watched = outgoing | self._confirmed.keys()
        await self._take(decision.before)
        written = await self._on_thread(self._write_table, plan, seen, decision.guard)
        await self._take(decision.after)
        self._applied, self._confirmed = plan, seen.gateways
        self._watched = outgoing | seen.gateways.keys()
        if written or decision.writes:
            log.info(
                "firewall.changed",
                extra={"gateways": len(plan.gateways), "guarded": bool(decision.guard)},
            )
        return written or decision.writes

    def _is_fresh(self, since: float) -> bool:
        """Whether what was seen then still holds; without a watch nothing does."""
        return self._watch is not None and time.monotonic() - since < _LOOK_S

    async def _take(self, steps: Iterable[forwarding.Step]) -> None:
        """Take steps in their order; writes between two notes go to the thread together."""
        writes: list[forwarding.Write] = []
        for step in steps:
            if isinstance(step, forwarding.Write):
                writes.append(step)
                continue
            await self._write(writes)
            writes = []
            if isinstance(step, forwarding.Note):
                await self._notes.put_note(step.key, step.value)
            else:
                await self._notes.forget_note(step.key)
        await self._write(writes)

    async def _write(self, writes: Sequence[forwarding.Write]) -> None:
        if writes:
            await self._on_thread(turn, self._sysctls, writes)

    def _ask_for_accepts(self, *, wanted: bool) -> None:
        """Have ``run`` look for our accepts behind DOCKER-USER, if that is due."""
        now = time.monotonic()
        if wanted is not self._accepts or now - self._accepts_from >= _LOOK_S:
            self._accepts, self._accepts_from = wanted, now
            self._upkeep.set()

    async def _keep_accepts(self) -> None:
        wanted = self._accepts
        if wanted is None:
            # Not asked yet: accepts of an earlier process stay until it is known who needs them.
            return
        async with self._docker_lock:
            work = self._docker_user.ensure if wanted else self._docker_user.remove
            try:
                changed = await work()
            except UnavailableError as error:
                log.warning("firewall.docker-user-failed", extra={"why": str(error)})
                return
            self._kept = wanted
        if changed:
            log.info("firewall.docker-user", extra={"accepts": wanted})

    def _changed(self, change: HostChange) -> None:
        if HostChange.HOST in change:
            self._host_from = -_LOOK_S
        if HostChange.TABLE in change:
            self._table_from = -_LOOK_S
        if HostChange.ACCESS in change:
            self.access.doubt()
        if HostChange.CHAINS in change:
            self._upkeep.set()
        if self._heard is None and change & ~HostChange.CHAINS:
            self._heard = asyncio.get_running_loop().call_later(_SETTLE_S, self._tell)

    def _heard_carrier(self, link: str, running: bool | None) -> None:
        for callback in self._carrier_callbacks:
            callback(link, running)

    def _heard_of(self, gateway: str) -> None:
        for callback in self._gateway_callbacks:
            callback(gateway)

    def _tell(self) -> None:
        self._heard = None
        for callback in self._callbacks:
            callback()

    async def _on_thread(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await loop.run_in_executor(self._thread, work, *arguments)
        except TimeoutError as error:
            raise UnavailableError(
                f"the kernel did not finish with nftables and forwarding within {_TIMEOUT_S:g} s"
            ) from error

    # On the worker thread from here on.

    def _open(self) -> tuple[Nft, Table, rtnetlink.RouteSocket]:
        if self._nft is None or self._table is None:
            self._thread_id = threading.get_native_id()
            self._nft = Nft()
            self._table = Table(self._nft, self._instance)
        if self._netlink is None:
            self._netlink = _route_socket()
        return self._nft, self._table, self._netlink

    def _close(self) -> None:
        if self._nft is not None:
            self._nft.close()
            self._nft = self._table = None
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None
        if self._conntrack is not None:
            self._conntrack.close()
            self._conntrack = None

    def _observe(self, plan: FirewallPlan, notes: dict[str, str]) -> "_Seen":
        _, _, netlink = self._open()
        if self._boot_id is None:
            self._boot_id = self._sysctls.boot_id()
        unread = self._host is None and bool(plan.gateways)
        look = unread or not self._is_fresh(self._host_from)
        if look:
            # Before the look: what changes during it is heard of, and makes it stale again.
            self._host_from = time.monotonic()
            self._host = self._read_host(netlink) if plan.gateways else None
        host = self._host or HostNetwork()
        outside = outside_bridges(plan, host)
        wanted = forwarding.Wanted(
            plan=plan,
            outgoing4=outgoing(plan, host, family=4, outside=outside),
            outgoing6=outgoing(plan, host, family=6, outside=outside),
        )
        # A gateway that becomes another device under its name is told of, or heard of.
        known = frozenset(self._applied.gateways) if self._applied is not None else frozenset()
        changed = {gateway.link for gateway in plan.gateways if gateway not in known}
        unsure = plan.links if look else (plan.links - self._confirmed.keys()) | changed
        # Before its switches are read: another device that comes meanwhile has another index.
        gateways = {
            link: index
            for link in plan.links
            if (index := _index(link) if link in unsure else self._confirmed[link])
        }
        values = self._sysctls.present(forwarding.paths(wanted, notes, gateways=unsure))
        switches = forwarding.Switches(values=values, notes=notes, boot=self._boot_id)
        if forwarding.hosts_matter(wanted, switches):
            every = self._sysctls.every(forwarding.forwarding6("*"))
            switches = replace(switches, values={**every, **values})
        return _Seen(
            wanted=wanted,
            switches=switches,
            outside=outside,
            bridges=host.bridges,
            gateways=gateways,
        )

    def _is_written(self, plan: FirewallPlan, seen: "_Seen", guard: Guard) -> bool:
        _, table, _ = self._open()
        return table.stands(self._rendered(plan, seen, guard))

    def _rendered(self, plan: FirewallPlan, seen: "_Seen", guard: Guard) -> Sequence[Object]:
        return nft_rules.render(
            plan,
            table=self._instance,
            outside=seen.outside,
            guard=guard,
            bridges=seen.bridges,
        )

    def _write_table(self, plan: FirewallPlan, seen: "_Seen", guard: Guard) -> bool:
        _, table, _ = self._open()
        trusted = self._is_fresh(self._table_from)
        made_of = (plan, seen.outside, guard, seen.bridges)
        if trusted and made_of == self._written:
            return False
        objects = self._rendered(plan, seen, guard)
        self._written = None
        if not trusted:
            # Before the look: what changes during it is heard of, and not trusted again.
            self._table_from = time.monotonic()
        try:
            changed = table.ensure(objects, trusted=trusted)
        except UnavailableError:
            self._table_from = -_LOOK_S
            raise
        self._written = made_of
        return changed

    def _cut(self, published: tuple[Publication, ...]) -> None:
        _, _, netlink = self._open()
        try:
            if self._conntrack is None:
                self._conntrack = Conntrack()
            local = {each.address.ip for each in addresses(netlink)}
            self._conntrack.cut(published, local)
        except OSError as error:
            raise UnavailableError(
                f"the kernel's connections to published ports cannot be ended: {error.strerror}"
            ) from error

    def _survey(self) -> tuple[HostNetwork, tuple[str, ...], list[BaseChain]]:
        """Return the host, the gateways that our table names, and others' forward chains."""
        nft, table, netlink = self._open()
        gateways = next(
            (
                tuple(each["set"].get("elem", ()))
                for each in table.standing() or ()
                if each.get("set", {}).get("name") == nft_rules.GATEWAYS
            ),
            (),
        )
        listed = chain_readers.forward_chains(
            nft.list_chains(), own_tables=(self._instance, self.access.table)
        )
        chains = [chain_readers.from_nft(each, _rules_below(nft, each)) for each in listed]
        return self._read_host(netlink), gateways, chains

    def _read_host(self, netlink: rtnetlink.RouteSocket) -> HostNetwork:
        if self._watch is None:  # nobody hears of changes
            self._ways.miss()
        return read_host(netlink, self._read_links, self._ways)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one look at the host has found."""

    wanted: forwarding.Wanted
    switches: forwarding.Switches
    outside: frozenset[str]
    bridges: frozenset[str]
    gateways: Mapping[str, int]
    """Those of the plan that exist, with their index."""


def turn(sysctls: Sysctls, writes: Iterable[forwarding.Write]) -> None:
    """Set switches; one that went with its link is no matter. Blocks.

    Raises:
        UnavailableError: one may not be written.
    """
    for each in writes:
        try:
            sysctls.write(each.path, each.value)
        except FileNotFoundError:
            continue
        except OSError as error:
            name = each.path.replace("/", ".")
            raise UnavailableError(
                f"cannot set {name}={each.value}: {error.strerror}; containers of nat networks "
                "need it to reach the outside: run as root with /proc/sys writable, or type: "
                f"sysctl -w {each.path}={each.value}"
            ) from error


def _index(link: str) -> int:
    """Return a link's index, 0 if there is none."""
    try:
        return socket.if_nametoindex(link)
    except OSError:
        return 0


def _route_socket() -> rtnetlink.RouteSocket:
    try:
        return rtnetlink.RouteSocket()
    except OSError as error:
        raise UnavailableError(f"cannot open a netlink socket: {error.strerror}") from error


def _rules_below(nft: Nft, chain: Object) -> dict[str, list[Object]]:
    """Return the rules of a chain and of all that it leads to, by chain."""
    found: dict[str, list[Object]] = {}
    waiting = {str(chain["name"])}
    while waiting:
        name = waiting.pop()
        rules = nft.list_rules({**chain, "name": name})
        maps = {each: nft.list_map(chain, each) for each in chain_readers.named_maps(rules)}
        found[name] = chain_readers.spelled_out(rules, maps)
        waiting |= chain_readers.targets(found[name]) - found.keys()
    return found


def _crossing(family: int, gateways: Sequence[str], host: HostNetwork) -> Sequence[Packet]:
    """Return packets that would cross one of our gateways, or the first one there will be."""
    ways = [route for route in host.routes if route.family == family]
    default = next((route.link for route in ways if route.default), "")
    gateway = gateways[0] if gateways else f"{GATEWAY_PREFIX}{0:012}"
    return crossing(family=family, gateway=gateway, outgoing=default)
