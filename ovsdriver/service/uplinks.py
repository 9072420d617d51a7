"""Join NICs to bridges and take them out again, as the records say."""

import asyncio
import logging

from ovsdriver.domain import desired, names, uplink_notes
from ovsdriver.domain.model import UplinkPort
from ovsdriver.domain.uplink_notes import NicNote
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import HostNotes, Nics, State, Switch

log = logging.getLogger(__name__)


class Uplinks:
    """The wires of all bridges. Networks share them, so the records of all decide on each.

    What a NIC was before us is noted before it is touched, so whoever finds the note can put it
    back, also after a crash.
    """

    def __init__(
        self, *, owner: str, state: State, notes: HostNotes, switch: Switch, nics: Nics
    ) -> None:
        self._owner = owner
        self._state = state
        self._notes = notes
        self._switch = switch
        self._nics = nics
        self._lock = asyncio.Lock()

    async def settle(self, bridge: str, *, awaited: bool = True) -> None:
        """Make the uplink of ``bridge`` as all records want it, or remove it with its last network.

        Args:
            bridge: its name; it must be there if an uplink is wanted.
            awaited: wait until vswitchd has the NICs. Not for narrowing: a network must be
                removable while a NIC is broken.

        Raises:
            ConflictError, UnavailableError: see ``Switch.ensure_uplink`` and ``Nics``.
        """
        async with self._lock:
            wanted = desired.uplink_ports(self._state.networks(), owner=self._owner).get(bridge)
            if wanted is not None:
                await self._make(wanted, awaited=awaited)
            noted = uplink_notes.read(self._notes.notes(), bridge)
            kept = wanted.nics if wanted is not None else ()
            for nic, note in noted.items():
                if nic not in kept:
                    await self._free(nic, note, keep=wanted)

    async def release_all(self) -> None:
        """Take every NIC out of its bridge and make it as it was, whatever the records want."""
        async with self._lock:
            for nic, note in uplink_notes.read(self._notes.notes()).items():
                await self._free(nic, note, keep=None)

    async def _make(self, wanted: UplinkPort, *, awaited: bool) -> None:
        noted = uplink_notes.read(self._notes.notes())
        for nic in wanted.nics:
            if nic not in noted:
                before = await self._nics.state(nic)
                if before is None:
                    raise UnavailableError(
                        f"uplink {nic} of bridge {wanted.bridge} is not there; plug it in, or "
                        "remove its networks"
                    )
                note = NicNote(bridge=wanted.bridge, before=before)
                await self._notes.put_note(uplink_notes.key(nic), uplink_notes.encode(note))
            if awaited:
                await self._nics.take(nic)
        await self._switch.ensure_uplink(wanted, awaited=awaited)

    async def _free(self, nic: str, note: NicNote, *, keep: UplinkPort | None) -> None:
        for port in (nic, names.bond_port(note.bridge)):
            if keep is None or port != keep.name:
                await self._switch.remove_port(port)
        await self._nics.give_back(nic, note.before)
        await self._notes.forget_note(uplink_notes.key(nic))
        log.info("uplink.freed", extra={"nic": nic, "bridge": note.bridge})
