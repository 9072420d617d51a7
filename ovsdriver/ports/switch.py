"""Open vSwitch: its database and its flows."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ovsdriver.domain.records.model import NO_OPTIONS, EndpointId
from ovsdriver.domain.records.options.flows import PortFlows, Ruling
from ovsdriver.domain.wires.mirroring import Mirror
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedPort
from ovsdriver.domain.wires.plumbing import Bridge, Port, UplinkPort


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchStatus:
    """Open vSwitch as a whole."""

    connected: bool
    version: str = ""
    datapath_types: tuple[str, ...] = ()
    """What the running vswitchd can do: ``("netdev", "system")``.

    It lists ``system`` even where the kernel has no openvswitch.
    """
    other_config: Mapping[str, str] = field(default_factory=lambda: NO_OPTIONS)
    """Of the Open_vSwitch row, such as ``userspace-tso-enable``; vswitchd reads it at its start."""
    system_id: str = ""
    """This host's name in a fleet (``external_ids:system-id``)."""
    southbound: str = ""
    """Where OVN's southbound database is (``external_ids:ovn-remote``): servers between commas."""
    integration: str = ""
    """Name of the bridge that OVN's controller makes and rules here; empty: it has none to make."""


class SwitchView(Protocol):
    """What Open vSwitch has, ours or not, by a copy of its database."""

    def status(self) -> SwitchStatus:
        """Return what is known now, without waiting."""
        ...

    def bridges(self) -> Mapping[str, ObservedBridge]:
        """Return every bridge by name, from the monitored copy; empty while not connected."""
        ...

    def bridge(self, name: str) -> ObservedBridge | None:
        """Return one bridge; does not cost more on a bridge with many ports."""
        ...

    def port(self, name: str) -> ObservedPort | None:
        """Return one port, of any bridge."""
        ...

    def on_change(self, callback: Callable[[Collection[EndpointId] | None], None]) -> None:
        """Call ``callback`` on the loop after a (re)connect and whenever rows of ours change.

        And whenever ports of others do on a bridge that has ports of ours.

        With endpoints: their ports came or went, or vswitchd has taken them, and nothing else is
        different. With None: anything may be.
        """
        ...

    def on_connection(self, callback: Callable[[bool], None]) -> None:
        """Call ``callback`` on the loop when the database was connected (True), or was lost."""
        ...

    async def connected(self, timeout_s: float) -> None:
        """Wait until the copy is complete, at most ``timeout_s``; UnavailableError after it."""
        ...


class Ports(SwitchView, Protocol):
    """Ports of ours, and what there is."""

    async def ensure_port(self, port: Port) -> None:
        """Make the port as described and return when vswitchd has it (``ofport`` > 0).

        A port of that name that is not ours: ConflictError. vswitchd reports an error or does
        not answer in time: UnavailableError, and the rows are removed again.
        """
        ...

    async def change_ports(self, ports: Sequence[Port | UplinkPort]) -> bool:
        """Make ports of ours that are there as described, all in one transaction.

        Those that are not there, or are plugged in otherwise, are left to who makes them. Answers
        when it is committed, False if there was nothing to change. An OpenFlow port number that
        another port has: ConflictError, and nothing is changed.
        """
        ...

    async def remove_port(self, name: str) -> bool:
        """Commit the removal of a port of ours; vswitchd is not waited for. False if not there."""
        ...


class Bindings(SwitchView, Protocol):
    """Ports that OVN is to have taken."""

    async def bound(self, port: str, timeout_s: float) -> None:
        """Wait until OVN's controller has made the flows of a port; UnavailableError after it."""
        ...


class Bridges(Ports, Protocol):
    """Bridges of ours."""

    async def ensure_bridge(self, bridge: Bridge) -> None:
        """Make a bridge of ours, its local port down; one without our mark: ConflictError."""
        ...

    async def remove_bridge(self, name: str) -> bool:
        """Remove a bridge that carries our mark; False if there is none such."""
        ...


class UplinkPorts(Ports, Protocol):
    """Ports that lead from a bridge to the wire."""

    async def ensure_uplink(self, port: UplinkPort, *, awaited: bool = True) -> None:
        """Make the NICs a port as described and return when vswitchd has all of them.

        Not ``awaited``: when it is committed. A port of that name that is not ours, a NIC that is
        in another one: ConflictError. vswitchd reports an error or does not answer in time:
        UnavailableError, and the rows are removed again.
        """
        ...


class PatchPorts(Ports, Protocol):
    """Ports that lead from one bridge to another."""

    async def ensure_patch(self, ends: tuple[Port, Port]) -> None:
        """Make two ports that lead to each other as described, in one transaction.

        Returns when vswitchd has both; errors as of ``ensure_port``, and none of both is left then.
        """
        ...


class Copies(Ports, Protocol):
    """Mirrors of ours, which lead copies of packets to ports."""

    async def ensure_mirrors(self, bridge: str, mirrors: Sequence[Mirror]) -> bool:
        """Make the mirrors of ours on a bridge exactly these; False if they already were.

        Somebody else's mirror leads to one of their ports, or has its name: ConflictError. No
        such bridge or port: UnavailableError.
        """
        ...


class Switch(Bridges, UplinkPorts, PatchPorts, Copies, Bindings, Protocol):
    """All of it."""


class Flows(Protocol):
    """OpenFlow rules of ours for single ports, beside those of others."""

    async def ensure(
        self, bridge: str, wanted: Mapping[int, PortFlows], *, fresh: Collection[int] = ()
    ) -> bool:
        """Make flows and meters of ports exactly ``wanted``; False if they already were.

        By OpenFlow port numbers; all flows change in one moment. Of those in ``fresh``, which
        should have none yet, it is not asked whether they have. The bridge or its datapath cannot
        do it: UnsupportedError; vswitchd does not answer: UnavailableError.
        """
        ...

    def prepare(self, bridge: str) -> None:
        """Begin what the next :meth:`ensure` for a bridge, within two seconds, need not do then.

        What fails is left to that.
        """
        ...

    async def differing(
        self, bridge: str, wanted: Callable[[], Mapping[int, PortFlows]]
    ) -> Collection[int]:
        """Return the numbers of ports that have other flows or meters of ours than ``wanted``.

        Ports that have some and are not in ``wanted`` are among them. ``wanted`` is called after
        the bridge has said what it has. Errors as ``ensure``.
        """
        ...

    async def met(
        self, bridge: str, asked: Mapping[int, PortFlows]
    ) -> Mapping[Ruling, tuple[int, int]]:
        """Return how many packets and bytes rulings have met since they were made.

        ``asked``: those of a bridge, by numbers. One that is not there is left out; of those that
        match the same, each has what they have met together. Errors as ``ensure``.
        """
        ...

    async def attend(self, bridge: str, present: Callable[[], None]) -> None:
        """Call ``present`` once vswitchd answers for a bridge, and return when it is gone.

        Errors as ``ensure``, if it does not answer at all.
        """
        ...
