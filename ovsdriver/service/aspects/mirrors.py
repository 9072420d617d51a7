"""Mirrors of bridges: there while somebody asks for them and somebody is there to look."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial

from netaddr import IPNetwork

from ovsdriver import codec
from ovsdriver.domain.records import names, uplink_notes
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.domain.records.options.port_options import MirrorTarget
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import mirroring, uplinks
from ovsdriver.domain.wires.mirroring import Mirroring
from ovsdriver.errors import ConflictError, UnsupportedError
from ovsdriver.ports import Copies, HostNotes, Links, Nics, State
from ovsdriver.service.aspects.aspect import Aspect, Finding
from ovsdriver.service.aspects.bridges import datapath

log = logging.getLogger(__name__)


class Mirrors(Aspect):
    """Networks and containers of a bridge share its mirrors' ports: the records of all decide."""

    name = "mirrors"

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        notes: HostNotes,
        switch: Copies,
        links: Links,
        nics: Nics,
    ) -> None:
        self._owner = owner
        self._state = state
        self._notes = notes
        self._switch = switch
        self._links = links
        self._nics = nics
        self._lock = asyncio.Lock()
        self._concerned: set[EndpointId] = set()
        """Endpoints that had a part in mirrors."""

    async def check(self, network: Network, endpoint: Endpoint) -> None:
        """Refuse a target that packets of the bridge cannot be led to; errors as of a network's."""
        path = datapath(self._switch, network)
        await self._check(endpoint.port.mirror, network.segment.bridge, path)

    async def check_network(self, network: Network) -> None:
        """Refuse a target that packets of the bridge cannot be led to.

        Raises:
            UnsupportedError: there is no such NIC, or no way for a tunnel.
            ConflictError: the NIC is in use.
        """
        await self._check(network.port.mirror, network.segment.bridge, network.segment.datapath)

    async def _check(self, target: MirrorTarget | None, bridge: str, datapath: Datapath) -> None:
        if target is not None and target.nic:
            await self._check_nic(target.nic, bridge)
        if target is not None and target.remote is not None and datapath is Datapath.NETDEV:
            await self._check_way(target, bridge)

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Settle the mirrors of an endpoint's bridge if it has, or had, a part in them."""
        if endpoint.id not in self._concerned:
            if not (
                endpoint.port.mirror
                or mirroring.sink(network, endpoint)
                or (network.port.mirror and network.segment.by_ovn)  # by each of its ports
            ):
                return
            self._concerned.add(endpoint.id)
        await self.settle(network.segment.bridge)
        if self._state.endpoint(endpoint.id) is None:
            self._concerned.discard(endpoint.id)

    async def unplugged(self, network: Network, endpoint: Endpoint) -> None:
        """Settle them without it."""
        await self.ensure(network, endpoint)

    async def ensure_network(self, network: Network) -> None:
        """Settle the mirrors of a network's bridge, if it has some or shall have."""
        if network.port.mirror is not None or self._has_any(network.segment.bridge):
            await self.settle(network.segment.bridge)

    async def remove_network(self, network: Network) -> None:
        """Settle them without it."""
        if self._has_any(network.segment.bridge):
            await self.settle(network.segment.bridge)

    async def settle(self, bridge: str) -> bool:
        """Make the mirrors of a bridge as the records want them; False if they already were.

        Raises:
            ConflictError, UnavailableError: see ``Copies``.
        """
        async with self._lock:
            if self._switch.bridge(bridge) is None:
                return False
            wanted = self._wanted(bridge)
            for port in wanted.outputs:
                if port.tunnel is None:
                    await self._take(port.name, bridge)
            present = self._outputs(bridge)
            missing = [each for each in wanted.outputs if each.name not in present]
            for port in missing:
                await self._switch.ensure_port(port)
            changed = await self._switch.ensure_mirrors(bridge, wanted.mirrors)
            strays = present - {each.name for each in wanted.outputs}
            for name in sorted(strays):
                await self._switch.remove_port(name)
            await self._give_back(bridge, keep=wanted.nics)
        return bool(changed or missing or strays)

    async def find(self) -> Sequence[Finding]:
        """Doubt every bridge that has mirrors or shall have some; say who waits for a port."""
        found: list[Finding] = []
        for bridge in self._switch.bridges():
            wanted = self._wanted(bridge)
            found.extend(Finding(what=each) for each in wanted.in_vain)
            if wanted.mirrors or self._has_any(bridge):
                found.append(
                    Finding(
                        what=f"bridge {bridge}: mirrors were not as they should be",
                        about=f"bridge {bridge}: mirrors",
                        amiss=partial(self._differs, bridge),
                        mend=partial(self.settle, bridge),
                    )
                )
        return found

    async def _differs(self, bridge: str) -> bool:
        wanted, observed = self._wanted(bridge), self._switch.bridges().get(bridge)
        if observed is None:
            return False
        there = {(each.name, each.output, each.sources) for each in observed.mirrors}
        return self._outputs(bridge) != {each.name for each in wanted.outputs} or there != {
            (m.name, m.output, tuple(filter(self._switch.port, m.ports))) for m in wanted.mirrors
        }

    async def clear(self) -> None:
        """Remove mirrors and their ports, and make NICs that they led to as notes say."""
        async with self._lock:
            for name, bridge in self._switch.bridges().items():
                if bridge.mirrors:
                    await self._switch.ensure_mirrors(name, ())
                for port in sorted(self._outputs(name)):
                    await self._switch.remove_port(port)
            await self._give_back(None, keep=frozenset())

    def _wanted(self, bridge: str) -> Mirroring:
        return mirroring.mirroring(
            bridge, self._state.networks(), self._state.endpoints(), owner=self._owner
        )

    def _has_any(self, bridge: str) -> bool:
        observed = self._switch.bridge(bridge)
        return bool(
            (observed is not None and observed.mirrors)
            or self._outputs(bridge)
            or self._noted(bridge)
        )

    def _outputs(self, bridge: str) -> frozenset[str]:
        observed = self._switch.bridges().get(bridge)
        return frozenset(
            port.name
            for port in (observed.ports if observed is not None else ())
            if port.external_ids.get(names.OWNER_KEY) == self._owner
            and port.external_ids.get(names.PURPOSE_KEY) == names.MIRROR
        )

    async def _take(self, nic: str, bridge: str) -> None:
        if nic not in self._noted():
            before = await self._nics.state(nic)
            if before is None:
                raise UnsupportedError(f"ovs.mirror=nic:{nic}: this host has no such link any more")
            note = uplink_notes.NicNote(bridge=bridge, before=before)
            await self._notes.put_note(
                uplink_notes.key(nic, uplink_notes.MIRROR), codec.encode(note)
            )
        await self._nics.take(nic)

    async def _give_back(self, bridge: str | None, *, keep: frozenset[str]) -> None:
        for nic, note in self._noted(bridge).items():
            if nic not in keep:
                await self._nics.let_go(nic)
                await self._nics.give_back(nic, note.before)
                await self._notes.forget_note(uplink_notes.key(nic, uplink_notes.MIRROR))

    def _noted(self, bridge: str | None = None) -> Mapping[str, uplink_notes.NicNote]:
        return uplink_notes.read(self._notes.notes(), bridge, uplink_notes.MIRROR)

    async def _check_nic(self, nic: str, bridge: str) -> None:
        known = uplinks.known_nic(
            nic,
            await self._links.links(),
            [each.destination for each in await self._links.routes_by(nic)],
            self._switch.bridges(),
            owner=self._owner,
            ties=await self._links.ties(nic),
        )
        if known is None:
            raise UnsupportedError(
                f"ovs.mirror=nic:{nic}: this host has no such link; `ip -brief link` lists those "
                "it has"
            )
        used = "it carries addresses or routes of this host" if known.addresses else ""
        if known.routes:
            used = "it carries routes of this host"
        if known.ties.qdisc:
            used = f"it has a queueing discipline ({known.ties.qdisc}), which would be lost"
        if known.master:
            used = f"it is a part of {known.master}"
        if known.port is not None and known.port.name not in self._outputs(bridge):
            used = f"it is in port {known.port.name} of bridge {known.port.bridge}"
        if known.product or nic == "lo":
            used = "it is no NIC"
        if used:
            raise ConflictError(
                f"ovs.mirror=nic:{nic}: {used}, and a mirror's output port carries copies only; "
                "name another NIC"
            )

    async def _check_way(self, target: MirrorTarget, bridge: str) -> None:
        """Refuse a tunnel that the userspace datapath, which knows no other links, cannot send."""
        ways = {each.link for each in await self._links.routes([IPNetwork(target.remote)])}
        for name, each in self._switch.bridges().items():
            if name in ways and each.datapath is Datapath.NETDEV:
                return
        raise UnsupportedError(
            f"ovs.mirror={target.kind}:{target.remote}: bridge {bridge} has the userspace "
            f"datapath, and the host reaches {target.remote} outside its bridges; use "
            "ovs.uplink_move=true, the kernel's datapath, or a mirror to a NIC"
        )
