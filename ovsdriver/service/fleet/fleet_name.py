"""What this host is called in its fleet: Open vSwitch says it, and it must not change meanwhile."""

from ovsdriver.errors import UnavailableError
from ovsdriver.ports import HostNotes, SwitchView

_NOTE = "fleet-name"


class FleetName:
    """The name under which this host has pools and leases, known while Open vSwitch is away too."""

    def __init__(self, *, switch: SwitchView, notes: HostNotes) -> None:
        self._switch = switch
        self._notes = notes

    def __call__(self) -> str:
        """Return it.

        Raises:
            UnavailableError: it is not known, or is another one than what the host has is held by.
        """
        kept, said = self._notes.notes().get(_NOTE, ""), self._switch.status().system_id
        if kept and said and kept != said:
            raise UnavailableError(
                f"this host is {kept} in its fleet, and Open vSwitch says {said}; set it back: "
                f"ovs-vsctl set Open_vSwitch . external_ids:system-id={kept}"
            )
        name = kept or said
        if not name:
            raise UnavailableError(
                "this host's name in the fleet is not known; set it before ovn-controller starts: "
                "ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME"
            )
        return name

    @property
    def kept(self) -> bool:
        """Whether the host has had anything under it, and may have it yet."""
        return _NOTE in self._notes.notes()

    async def keep(self) -> str:
        """Return it, and hold on to it; errors as above."""
        name = self()
        if not self.kept:
            await self._notes.put_note(_NOTE, name)
        return name

    async def let_go(self) -> None:
        """Have it from Open vSwitch again: the host has nothing under it any more."""
        await self._notes.forget_note(_NOTE)
