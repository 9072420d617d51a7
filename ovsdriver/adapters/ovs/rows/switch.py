"""Open vSwitch, as the services use it, through its database."""

import asyncio
import itertools
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ovsdriver.adapters.ovs.rows.bridges import EnsureBridge, RemoveBridge
from ovsdriver.adapters.ovs.rows.mirrors import EnsureMirrors
from ovsdriver.adapters.ovs.rows.news import Callback, News
from ovsdriver.adapters.ovs.rows.ports import (
    ChangeTogether,
    EnsurePatch,
    EnsurePort,
    RemovePort,
    RemoveTogether,
    SettleRequest,
    check_port,
)
from ovsdriver.adapters.ovs.rows.rows import WATCHED, check_name, integration_bridge, is_bound
from ovsdriver.adapters.ovs.rows.uplinks import EnsureUplink, check_uplink
from ovsdriver.adapters.ovs.rows.view import ReplicaView
from ovsdriver.adapters.ovsdb import (
    ConnectionLostError,
    OvsdbAdapter,
    OvsdbClient,
    Plan,
    RefusedError,
    Replica,
    Row,
    RowChange,
)
from ovsdriver.domain.wires.mirroring import Mirror
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedPort
from ovsdriver.domain.wires.plumbing import Bridge, Port, UplinkPort
from ovsdriver.errors import ConflictError, UnavailableError, UnsupportedError
from ovsdriver.ports import SwitchStatus

log = logging.getLogger(__name__)

_Making = EnsurePort | EnsureBridge | EnsureUplink | EnsurePatch

_WITHDRAW_S = 1.0
_OF_THE_MOMENT = frozenset({"conflict", "timed out", "I/O error", "resources exhausted"})
"""Refusals that have nothing to do with what was asked (RFC 7047, sections 4.1.3 and 5.2)."""


def device_index(name: str) -> int | None:
    """Return the kernel's index of a device of this namespace; None if there is none."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None


class OvsSwitch(OvsdbAdapter):
    """Fulfils :class:`ovsdriver.ports.Switch`.

    :meth:`run` must run on the loop for anything to happen. No call takes longer than
    ``timeout_s`` and, where it has to take back what it made, one second.
    """

    def __init__(
        self,
        address: str,
        *,
        owner: str,
        timeout_s: float = 5.0,
        probe_s: float = 5.0,
        device_index: Callable[[str], int | None] = device_index,
        timed: Callable[[float], object] = lambda _: None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            address: of ovsdb-server, ``unix:PATH`` or ``tcp:HOST:PORT``; ConfigurationError.
            owner: our mark: rows whose ``external_ids`` have it are ours.
            timeout_s: limit for every call, with waiting for a connection and for vswitchd.
            probe_s: silence of the server after which it is probed, and then given up.
            device_index: index of a device in vswitchd's network namespace; only tests, whose
                vswitchd lives in another namespace than they, need another one.
            timed: told the seconds that each answered transaction took.
        """
        client = OvsdbClient(
            address, WATCHED, on_change=self._changed, probe_s=probe_s, timed=timed
        )
        super().__init__(client, timeout_s=timeout_s)
        self._owner = owner
        self._address = address
        self._device_index = device_index
        self._serial = itertools.count()
        self._view: ReplicaView | None = None
        self._news = News(
            owner, beside=lambda table, row: bool(self._view and self._view.beside_ours(table, row))
        )
        self._connection_callbacks: list[Callable[[bool], None]] = []
        self._removals: dict[str, asyncio.Future[bool]] = {}

    def status(self) -> SwitchStatus:
        replica = self._client.replica
        if replica is None:
            return SwitchStatus(connected=False)
        root = next(iter(replica.rows("Open_vSwitch")), None)
        if root is None:
            return SwitchStatus(connected=True)
        return SwitchStatus(
            connected=True,
            version=root.get("ovs_version") or "",
            datapath_types=tuple(sorted(root.get("datapath_types", ()))),
            other_config=dict(root["other_config"]),
            system_id=root["external_ids"].get("system-id", ""),
            southbound=root["external_ids"].get("ovn-remote", ""),
            integration=integration_bridge(replica),
        )

    def bridges(self) -> Mapping[str, ObservedBridge]:
        """Return every bridge by name, with its ports; empty while not connected.

        Costs O(ports) after a change, and nothing without one.
        """
        return self._view.bridges() if self._view else {}

    def bridge(self, name: str) -> ObservedBridge | None:
        return self._view.bridge(name) if self._view else None

    def port(self, name: str) -> ObservedPort | None:
        return self._view.port(name) if self._view else None

    def on_connection(self, callback: Callable[[bool], None]) -> None:
        self._connection_callbacks.append(callback)

    def on_change(self, callback: Callback) -> None:
        self._news.call(callback)

    async def ensure_bridge(self, bridge: Bridge) -> None:
        """Make a bridge of ours and return when vswitchd has it.

        Its local port stays down and is an access port of a VLAN that no network has.

        Raises:
            ConflictError: one of that name is not ours, or has another datapath.
            InvalidOptionError: the name cannot be a device's.
            UnavailableError: the database or vswitchd does not answer; what was inserted is
                removed again.
            UnsupportedError: this version's database does not take it.
        """
        check_name(bridge.name, what="bridge")
        self._removals.pop(f"bridge {bridge.name}", None)
        plan = EnsureBridge(bridge, owner=self._owner, serial=next(self._serial))
        withdraw = RemoveBridge(bridge.name, owner=self._owner)
        await self._ensure(f"bridge {bridge.name}", bridge.name, plan, withdraw)

    async def remove_bridge(self, name: str) -> bool:
        """Remove a bridge of ours and our ports on it; vswitchd is not waited for.

        False if there is none such, and if it carries ports of other people: then it stays,
        and the log says why.
        """
        plan = RemoveBridge(name, owner=self._owner)
        removed = await self._remove(f"bridge {name}", name, plan)
        if plan.foreign:
            log.warning(
                "bridge.kept",
                extra={"bridge": name, "why": f"foreign ports: {' '.join(plan.foreign)}"},
            )
        return removed

    async def ensure_port(self, port: Port) -> None:
        """Make the port as described and return when vswitchd has it (``ofport`` > 0).

        A port of ours that differs is put right: tag, marks, bridge, and a device that was
        deleted and made again since it was plugged in. Cancelled, the call leaves what it
        inserted to the undo that its caller registered, :meth:`remove_port`.

        Raises:
            ConflictError: something of that name is not ours, or the wanted OpenFlow port number
                is another port's.
            InvalidOptionError: a VLAN, the number or the name is outside the range; nothing is
                sent.
            UnavailableError: there is no such bridge, vswitchd reports an error, or it or the
                database does not answer; what was inserted is removed again.
        """
        # a removal that still waits for the database comes first; another one would come after
        self._removals.pop(f"port {port.name}", None)
        plan = self._plugged(port)
        withdraw = RemovePort(port.name, owner=self._owner)
        await self._ensure(
            f"port {port.name}",
            port.name,
            plan,
            withdraw,
            number=port.ofport,
            unseen=port.moves,
        )

    async def bound(self, port: str, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                with self._news.of(port) as changed:
                    while True:
                        changed.clear()
                        replica = self._client.replica
                        row = replica.named("Interface", port) if replica else None
                        if row is not None and is_bound(row):
                            return
                        await changed.wait()
        except TimeoutError as error:
            raise UnavailableError(
                f"OVN has not taken port {port} within {timeout_s:g} s; does ovn-controller run, "
                "and reach the southbound database? Try: systemctl status ovn-controller"
            ) from error

    async def ensure_uplink(self, port: UplinkPort, *, awaited: bool = True) -> None:
        """Make an uplink's port as described; a bond is one port with several interfaces.

        Returns when vswitchd has all of its NICs. Not ``awaited``: when the change is committed,
        for one that only takes something away.

        Raises:
            ConflictError: a port of that name is not ours, or a NIC is in another port.
            InvalidOptionError: a name or a VLAN is outside the range; nothing is sent.
            UnavailableError: as of :meth:`ensure_port`.
        """
        what = f"uplink {port.name}"
        self._removals.pop(f"port {port.name}", None)
        plan = self._led_out(port)
        withdraw = RemovePort(port.name, owner=self._owner)
        if awaited:
            await self._ensure(what, port.name, plan, withdraw, interfaces=port.nics)
            return
        await self._commit(what, port.name, plan)

    async def ensure_patch(self, ends: tuple[Port, Port]) -> None:
        """Make a pair as described; errors as of :meth:`ensure_port`, of either end."""
        one, other = ends
        for each in ends:
            self._removals.pop(f"port {each.name}", None)
        plan = EnsurePatch((self._plugged(one), self._plugged(other)))
        ports = (one.name, other.name)
        withdraw = RemoveTogether(ports, owner=self._owner)
        what = f"patch of {one.bridge} and {other.bridge}"
        await self._ensure(what, what, plan, withdraw, interfaces=ports, device=False)

    async def ensure_mirrors(self, bridge: str, mirrors: Sequence[Mirror]) -> bool:
        plan = EnsureMirrors(bridge, mirrors, owner=self._owner, serial=next(self._serial))
        return await self._commit(f"mirrors of bridge {bridge}", bridge, plan)

    async def change_ports(self, ports: Sequence[Port | UplinkPort]) -> bool:
        plans = [self._led_out(p) if isinstance(p, UplinkPort) else self._plugged(p) for p in ports]
        what = f"{len(plans)} ports together"
        return await self._commit(what, what, ChangeTogether(plans))

    async def remove_port(self, name: str) -> bool:
        return await self._remove(f"port {name}", name, RemovePort(name, owner=self._owner))

    def _plugged(self, port: Port) -> EnsurePort:
        check_port(port)
        plugged = not port.internal and port.tunnel is None and not port.peer
        devices = {port.name: self._device_index(port.name)} if plugged else {}
        return EnsurePort(port, owner=self._owner, serial=next(self._serial), devices=devices)

    def _led_out(self, port: UplinkPort) -> EnsureUplink:
        check_uplink(port)
        devices = {nic: self._device_index(nic) for nic in port.nics}
        return EnsureUplink(port, owner=self._owner, serial=next(self._serial), devices=devices)

    async def _ensure(
        self,
        what: str,
        subject: str,
        plan: _Making,
        withdraw: Plan,
        *,
        interfaces: Sequence[str] = (),
        number: int | None = None,
        unseen: bool = False,
        device: bool = True,
    ) -> None:
        """Commit ``plan`` and see that vswitchd does it.

        Args:
            what: for errors.
            subject: name of the port or bridge.
            plan: what to commit.
            withdraw: takes it back.
            interfaces: what vswitchd has to take: of the subject's name, if none are given.
            number: the OpenFlow port number that was asked for.
            unseen: the device may be in a container: vswitchd has it, and cannot look at it.
            device: it has one at all.
        """
        waited = subject
        committed = False
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._submit(what, subject, plan)
                committed = True
                unseen = unseen and not plan.made  # a new one is in no container yet
                for waited in interfaces or (subject,):
                    row = await self._taken(what, waited, plan, unseen=unseen or not device)
                    if row["ofport_request"] != number and not unseen:
                        settle = SettleRequest(waited, owner=self._owner, number=number)
                        await self._submit(what, waited, settle)
                        if number is not None:
                            await self._taken(what, waited, plan, unseen=unseen)
        except TimeoutError as error:
            failure = self._not_in_time(what, waited)
            await self._take_back(subject, plan, withdraw)
            raise failure from error
        except UnavailableError:
            await self._take_back(subject, plan, withdraw)
            raise
        except ConflictError:
            if committed:
                await self._take_back(subject, plan, withdraw)
            raise

    async def _taken(self, what: str, interface: str, plan: _Making, *, unseen: bool) -> Row:
        """Wait until vswitchd has the interface; the monitor tells, next_cfg is left alone."""
        with self._news.of(interface) as changed:
            while True:
                changed.clear()
                replica = self._client.replica
                if replica is not None:
                    row = replica.named("Interface", interface)
                    if row is None:
                        raise UnavailableError(
                            f"{what} was removed from Open vSwitch while it was being made; "
                            "try again"
                        )
                    if _is_ready(row, unseen=unseen):
                        return row
                    # One that was there before may show an error, or a number, that is being
                    # mended.
                    if plan.made:
                        _refuse_failure(what, row)
                await changed.wait()

    async def _take_back(self, subject: str, plan: _Making, withdraw: Plan) -> None:
        """Remove what ``plan`` inserted, if need be when the database answers again."""
        if plan.made:
            await asyncio.wait([self._queue(subject, withdraw)], timeout=_WITHDRAW_S)

    async def _remove(self, what: str, name: str, plan: RemovePort | RemoveBridge) -> bool:
        removal = self._removals.get(what)
        if removal is None:
            removal = self._removals[what] = self._queue(name, plan)
            removal.add_done_callback(lambda _: self._forget_removal(what, removal))
        await asyncio.wait([removal], timeout=self._timeout_s)
        if not removal.done():
            raise UnavailableError(f"{what} is not removed yet: {self._silent()}")
        with self._translated(what):
            return removal.result()

    def _forget_removal(self, what: str, removal: asyncio.Future[bool]) -> None:
        if self._removals.get(what) is removal:
            del self._removals[what]

    def _queue(self, subject: str, plan: Plan) -> asyncio.Future[bool]:
        """Submit a plan that is carried out even if its caller no longer waits."""
        done = self._client.submit(plan, subject=subject)
        # a failure that nobody waits for is no news: the reconciler finds what is left
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        return done

    async def _commit(self, what: str, subject: str, plan: Plan) -> bool:
        """Submit a plan, vswitchd not waited for."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._submit(what, subject, plan)
        except TimeoutError as error:
            raise self._silent() from error

    async def _submit(self, what: str, subject: str, plan: Plan) -> bool:
        with self._translated(what):
            return await self._client.submit(plan, subject=subject)

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            words = f"Open vSwitch's database refused {what}: {error}"
            if error.tag in _OF_THE_MOMENT:
                raise UnavailableError(f"{words}; try again") from error
            raise UnsupportedError(words) from error
        except ConnectionLostError as error:
            raise self._silent() from error

    def _changed(self, changes: Sequence[RowChange] | None) -> None:
        if changes is not None:
            self._news.rows(changes)
            return
        replica = self._client.replica
        self._view = ReplicaView(replica, owner=self._owner) if replica else None
        self._news.everything(connected=replica is not None)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            return  # we stop, and nothing is lost
        for callback in self._connection_callbacks:
            callback(replica is not None)

    def _silent(self) -> UnavailableError:
        why = "" if self._client.replica else f" ({self._client.last_error})"
        return UnavailableError(
            f"Open vSwitch's database at {self._address} does not answer{why}; "
            "is openvswitch-switch running? Try: systemctl start openvswitch-switch"
        )

    def _not_in_time(self, what: str, interface: str) -> UnavailableError:
        replica: Replica | None = self._client.replica
        row = replica.named("Interface", interface) if replica else None
        if row is None:
            return self._silent()
        if row["error"]:
            return UnavailableError(_refused_by_vswitchd(what, row))
        if row["ofport_request"] not in (None, row["ofport"]):
            return UnavailableError(
                f"Open vSwitch has not given {what} the OpenFlow port number "
                f"{row['ofport_request']} within {self._timeout_s:g} s; does another port have it?"
            )
        return UnavailableError(
            f"Open vSwitch has not taken {what} within {self._timeout_s:g} s; is ovs-vswitchd "
            "running, and can this kernel do the bridge's datapath? Its log tells: "
            "/var/log/openvswitch/ovs-vswitchd.log"
        )


def _is_ready(interface: Row, *, unseen: bool) -> bool:
    ofport, request = interface["ofport"], interface["ofport_request"]
    return (
        ofport is not None
        and ofport > 0
        and (request in (None, ofport) or unseen)
        and (bool(interface["ifindex"]) or unseen)
        and not interface["error"]
    )


def _refuse_failure(what: str, interface: Row) -> None:
    ofport, request = interface["ofport"], interface["ofport_request"]
    if interface["error"] or ofport == -1:
        raise UnavailableError(_refused_by_vswitchd(what, interface))
    # vswitchd says nothing when a number is taken, it gives another one (measured with 3.5).
    if ofport is not None and request not in (None, ofport):
        raise ConflictError(
            f"ovs.ofport={request}: Open vSwitch gave {what} number {ofport} instead, so another "
            "port has it; choose another one"
        )


def _refused_by_vswitchd(what: str, interface: Row) -> str:
    why = interface["error"] or "no reason given; see /var/log/openvswitch/ovs-vswitchd.log"
    return f"Open vSwitch could not take {what}: {why}"
