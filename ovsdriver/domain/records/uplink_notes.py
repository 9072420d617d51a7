"""How a NIC was before it became an uplink or a mirror's port: noted durably before it is touched.

It is put back after. A note's key names the NIC, its value is JSON; one that cannot be read is
passed over.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from ovsdriver import codec
from ovsdriver.domain.records.on_link import Held

UPLINK, MIRROR = "uplink:", "mirror-nic:"
"""Before the NIC's name in the key of a note: what it was taken for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicState:
    """What an uplink changes of a NIC."""

    up: bool = False
    arp: bool = True
    """The host answers and asks ARP on it."""
    rp_filter: int = 0
    disable_ipv6: int | None = 0
    """None: the kernel has no IPv6 there."""
    neighbours: tuple[str, ...] = ()
    """Permanent and proxied ones, as the kernel describes them, in hexadecimal digits."""
    qdisc: str = ""
    """The queueing discipline that somebody gave it, likewise; empty: the kernel's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicNote:
    """One NIC that we have taken."""

    bridge: str
    before: NicState
    held: Held = field(default_factory=Held)
    """What of the host is moved from it to the bridge's own port, in whole or so far."""
    local: NicState | None = None
    """How the bridge's own port was before that."""
    moved: bool = False
    """All of ``held`` was seen to be on the bridge's port; what is not there any more has ended."""
    boot: str = ""
    """The boot during which it was moved: after another one the NIC has what it begins with."""


def key(nic: str, of: str = UPLINK) -> str:
    """Return the key of a NIC's note."""
    return f"{of}{nic}"


def read(
    notes: Mapping[str, str], bridge: str | None = None, of: str = UPLINK
) -> Mapping[str, NicNote]:
    """Return the notes of NICs, by NIC, all or those of one bridge."""
    found = {}
    for name, text in notes.items():
        if name.startswith(of):
            with suppress(codec.UnreadableError):
                note = codec.decode(NicNote, text)
                if bridge in (None, note.bridge):
                    found[name.removeprefix(of)] = note
    return found
