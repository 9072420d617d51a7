"""Join NICs to bridges and take them out again, as the records say."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from netaddr import IPAddress

from ovsdriver import codec
from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.records import names, uplink_notes
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.on_link import Held
from ovsdriver.domain.records.options.port_options import Cable
from ovsdriver.domain.records.uplink_notes import NicNote, NicState
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import UplinkPort
from ovsdriver.errors import DriverError, UnavailableError
from ovsdriver.ports import HostNotes, Journal, Links, Nics, State, UplinkPorts
from ovsdriver.service.aspects.aspect import Aspect

log = logging.getLogger(__name__)

BEFORE_S = 1.0
"""How long the gateways of a host that is to be moved are asked for where it is."""

AFTER_S = 3.0
"""And where it was moved to; vswitchd has just begun to look at the NIC."""


class Uplinks(Aspect):
    """The wires of all bridges. Networks share them, so the records of all decide on each.

    What a NIC was before us is noted before it is touched, so whoever finds the note can put it
    back, also after a crash.
    """

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        notes: HostNotes,
        switch: UplinkPorts,
        links: Links,
        nics: Nics,
        journal: Journal,
    ) -> None:
        self._owner = owner
        self._journal = journal
        self._state = state
        self._notes = notes
        self._switch = switch
        self._links = links
        self._nics = nics
        self._lock = asyncio.Lock()
        self._listing = {
            endpoint.id
            for network in state.networks()
            for endpoint in state.endpoints(network.id)
            if _lists(network, endpoint)
        }
        """Endpoints that had a part in what an uplink carries."""

    async def ensure(self, network: Network, endpoint: Endpoint) -> None:
        """Carry VLANs that only containers list, as long as one does."""
        if _lists(network, endpoint):
            self._listing.add(endpoint.id)
        elif endpoint.id in self._listing:
            self._listing.discard(endpoint.id)
        else:
            return
        await self.relist(network.segment.bridge)

    async def unplugged(self, network: Network, endpoint: Endpoint) -> None:
        """Carry what the others list."""
        if endpoint.id in self._listing:
            self._listing.discard(endpoint.id)
            await self.relist(network.segment.bridge)

    async def ensure_network(self, network: Network) -> None:
        """Make the wire of a network that has one, and have that of its bridge carry its VLAN."""
        if network.segment.uplink is not None:
            await self.settle(network.segment.bridge, trial=not network.made)
        else:
            # a container's list may have named this VLAN when no network had it
            await self.relist(network.segment.bridge)

    async def settle(self, bridge: str, *, trial: bool = False) -> None:
        """Make the uplink of ``bridge`` as the records want it; the bridge is there.

        Args:
            bridge: its name.
            trial: a host that is moved is moved for the first time: see ``_move``.

        Raises:
            ConflictError, UnavailableError: see ``UplinkPorts.ensure_uplink`` and ``Nics``; the
                caller undoes what was begun with :meth:`release`.
        """
        async with self._lock:
            wanted = self.wanted(bridge)
            if wanted is None:
                return
            await self._note(wanted)
            if wanted.host:
                await self._move(wanted, trial=trial)
            else:
                await self._join(wanted)

    async def release(self, ended: Network) -> None:
        """Let go of what no other network of its bridge needs: VLANs, the NICs, a pulled cable.

        vswitchd is not waited for: a network must be removable while a NIC is broken.
        """
        bridge = ended.segment.bridge
        async with self._lock:
            wanted = self.wanted(bridge)
            if wanted is not None:
                await self._relist(wanted)
                if ended.uplink_cable is Cable.DOWN:
                    await self._plug(wanted)
            for nic, note in uplink_notes.read(self._notes.notes(), bridge).items():
                if wanted is None or nic not in wanted.nics:
                    await self._free(nic, note, keep=wanted)

    async def relist(self, bridge: str) -> None:
        """Have an uplink that is there carry what the records list now; vswitchd is not waited for.

        For containers that are let into VLANs, or that end. One that is not there is left to who
        makes it.
        """
        async with self._lock:
            wanted = self.wanted(bridge)
            if wanted is not None:
                await self._relist(wanted)

    async def clear(self) -> None:
        """Take every NIC out of its bridge and make it as it was, as far as notes say how."""
        async with self._lock:
            noted = uplink_notes.read(self._notes.notes())
            for nic, note in noted.items():
                await self._free(nic, note, keep=None)
            await self._free_marked(noted.keys())

    async def displaced(self) -> Mapping[str, str]:
        """Return the bridges whose host is not where it was moved to, each with what is wrong.

        Of addresses that DHCP or a router gave, their end is not our business.
        """
        found = {}
        for bridge, wanted in desired.uplink_ports(
            self._state.networks(), owner=self._owner
        ).items():
            for nic, note in uplink_notes.read(self._notes.notes(), bridge).items():
                why = await self._displaced(wanted, nic, note)
                if why:
                    found[bridge] = why
        return found

    def wanted(self, bridge: str) -> UplinkPort | None:
        """Return the uplink of ``bridge`` as the records want it; None if it has none of ours."""
        networks, endpoints = self._state.networks(), self._state.endpoints()
        return desired.uplink_ports(networks, endpoints, owner=self._owner).get(bridge)

    async def _displaced(self, wanted: UplinkPort, nic: str, note: NicNote) -> str:
        if not wanted.host or nic not in wanted.nics:
            return ""
        back = await self._nics.held(nic)
        if back:
            again = [str(each.address) for each in back.addresses]
            again += [each.text for each in back.routes]
            return f"uplink {nic} has {', '.join(again[:4])} of the host"
        if not note.held or note.boot != await self._nics.boot():
            return ""
        lacking = note.held.lasting().lacks(await self._nics.held(wanted.bridge))
        if lacking or not note.moved:
            what = ", ".join(lacking) or "what was being moved to it"
            return f"bridge {wanted.bridge} lacks {what} of the host"
        return ""

    async def _note(self, wanted: UplinkPort) -> None:
        """Note how the NICs of an uplink are, if that was not done yet."""
        noted = uplink_notes.read(self._notes.notes())
        for nic in wanted.nics:
            if nic in noted:
                continue
            before = await self._nics.state(nic)
            if before is None:
                raise UnavailableError(
                    f"uplink {nic} of bridge {wanted.bridge} is not there; plug it in, or "
                    "remove its networks"
                )
            await self._write(nic, NicNote(bridge=wanted.bridge, before=before))

    async def _relist(self, wanted: UplinkPort) -> None:
        """Change what an uplink that is there carries.

        One that is not is left to who makes it: it may be a network that is being made, and its
        NIC the host's until its addresses are noted.
        """
        port = self._switch.port(wanted.name)
        if port is not None and port.trunks != wanted.trunks:
            await self._switch.ensure_uplink(wanted, awaited=False)

    async def _plug(self, wanted: UplinkPort) -> None:
        for nic in wanted.nics:
            if await self._nics.state(nic) is not None:
                await self._nics.take(nic, up=wanted.up)

    async def _join(self, wanted: UplinkPort) -> None:
        for nic in wanted.nics:
            await self._nics.take(nic, up=wanted.up)
        await self._switch.ensure_uplink(wanted)

    async def _move(self, wanted: UplinkPort, *, trial: bool) -> None:
        """Put the host on the bridge's own port, and the NIC into the bridge.

        On trial: its gateways must answer from the NIC before, and from the bridge after it.

        Raises:
            UnavailableError: they do not.
        """
        boot = await self._nics.boot()
        asked: tuple[IPAddress, ...] = ()
        for nic, note in uplink_notes.read(self._notes.notes(), wanted.bridge).items():
            current = await self._nics.held(nic)
            if trial and current.gateways:
                asked = current.gateways
                await self._ask(nic, asked, within_s=BEFORE_S, when="before anything was moved")
            known = note.held if note.boot == boot else Held()
            if note.moved:
                known = known.lasting()
            local = note.local or await self._nics.state(wanted.bridge)
            if current or known.lacks(await self._nics.held(wanted.bridge)) or not note.moved:
                held = known.with_newer(current)
                newer = replace(note, held=held, local=local, boot=boot, moved=False)
                await self._write(nic, newer)
        await self._switch.ensure_uplink(wanted)
        for nic, note in uplink_notes.read(self._notes.notes(), wanted.bridge).items():
            if note.moved:
                continue
            refused = await self._nics.move(note.held, source=nic, target=wanted.bridge)
            if refused and trial:
                raise UnavailableError(
                    f"the host's routes could not be moved from {nic} to {wanted.bridge}: "
                    f"{'; '.join(refused)}"
                )
            self._say_refused(wanted.bridge, refused)
            await self._nics.put_neighbours(wanted.bridge, note.before)
            await self._write(nic, replace(note, moved=True))
        await self._join(wanted)
        if asked:
            await self._ask(
                wanted.bridge,
                asked,
                within_s=AFTER_S,
                when=f"after the host was moved there from {'+'.join(wanted.nics)}, so all was "
                "put back",
            )

    async def _ask(
        self, link: str, gateways: Sequence[IPAddress], *, within_s: float, when: str
    ) -> None:
        found = await self._links.neighbours(link, gateways, within_s=within_s)
        silent = [str(each) for each in gateways if each not in found]
        if silent:
            raise UnavailableError(
                f"the host's gateway {' and '.join(silent)} did not answer on {link} {when}; make "
                "it answer, or use a NIC that the host does not need"
            )

    async def _free(self, nic: str, note: NicNote, *, keep: UplinkPort | None) -> None:
        for port in (nic, names.bond_port(note.bridge)):
            if keep is None or port != keep.name:
                await self._switch.remove_port(port)
        held = await self._of_host(nic, note)
        await self._nics.let_go(nic)
        await self._nics.give_back(nic, note.before)
        if held:
            self._say_refused(nic, await self._nics.move(held, source=note.bridge, target=nic))
        if note.local is not None:
            await self._nics.give_back(note.bridge, note.local)
        await self._notes.forget_note(uplink_notes.key(nic))
        attributes = {"nic": nic, "bridge": note.bridge}
        self._journal.tell(Happening(EventType.UPLINK, "freed", attributes=attributes))

    async def _free_marked(self, freed: AbstractSet[str]) -> None:
        """Take marked uplinks out of their bridges where no note says how their NICs were.

        A host that is on a bridge of ours goes back to the NIC: with the bridge it would be gone.
        """
        for bridge in self._switch.bridges().values():
            for port in bridge.ports:
                marks = port.external_ids
                ours = marks.get(names.OWNER_KEY) == self._owner
                if not ours or marks.get(names.PURPOSE_KEY) != "uplink":
                    continue
                if set(port.interfaces) <= freed:
                    continue
                held = await self._nics.held(bridge.name) if bridge.owned else Held()
                await self._switch.remove_port(port.name)
                for nic in port.interfaces:
                    await self._nics.let_go(nic)
                    now = await self._nics.state(nic)
                    if now is not None:
                        ipv6 = None if now.disable_ipv6 is None else 0
                        await self._nics.give_back(
                            nic, NicState(up=True, rp_filter=now.rp_filter, disable_ipv6=ipv6)
                        )
                if held:
                    try:
                        await self._nics.move(held, source=bridge.name, target=port.interfaces[0])
                    except DriverError as error:
                        log.warning("uplink.host-lost", extra={"why": str(error)})
                        raise

    async def _of_host(self, nic: str, note: NicNote) -> Held:
        """Return what is to go back to a NIC, and note what of it came after the move."""
        if note.local is None:
            return Held()
        known = note.held if note.boot == await self._nics.boot() else Held()
        if note.moved:
            known = known.lasting()
        bridge = self._switch.bridge(note.bridge)
        # On somebody else's bridge the host may have had addresses before.
        current = await self._nics.held(note.bridge) if bridge and bridge.owned else Held()
        held = known.with_newer(current)
        if held != note.held:
            await self._write(nic, replace(note, held=held, boot=await self._nics.boot()))
        return held

    async def _write(self, nic: str, note: NicNote) -> None:
        await self._notes.put_note(uplink_notes.key(nic), codec.encode(note))

    def _say_refused(self, link: str, refused: Sequence[str]) -> None:
        for text in refused:
            log.warning("uplink.route-lost", extra={"link": link, "route": text})


def _lists(network: Network, endpoint: Endpoint) -> bool:
    """Whether an endpoint wants other VLANs of an uplink than its network's."""
    return network.segment.uplink is not None and bool(desired.let_into(network, endpoint))
