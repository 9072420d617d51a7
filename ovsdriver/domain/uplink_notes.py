"""How a NIC was before it became an uplink: noted durably before it is touched, put back after.

A note's key names the NIC, its value is JSON. Notes are read tolerantly, since they outlive the
program that wrote them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

PREFIX = "uplink:"
"""Before the NIC's name in the key of a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicState:
    """What an uplink changes of a NIC."""

    up: bool = False
    arp: bool = True
    """The host answers and asks ARP on it."""
    rp_filter: int = 0
    disable_ipv6: int | None = 0
    """None: the kernel has no IPv6 there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicNote:
    """One NIC that we have taken."""

    bridge: str
    before: NicState


def key(nic: str) -> str:
    """Return the key of a NIC's note."""
    return f"{PREFIX}{nic}"


def encode(note: NicNote) -> str:
    """Return a note as text."""
    return json.dumps(asdict(note), separators=(",", ":"))


def decode(text: str) -> NicNote | None:
    """Return the note that ``text`` holds; None if it holds none."""
    try:
        members = json.loads(text)
        known = NicState.__dataclass_fields__
        before = {name: value for name, value in members["before"].items() if name in known}
        return NicNote(bridge=str(members["bridge"]), before=NicState(**before))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def read(notes: Mapping[str, str], bridge: str | None = None) -> Mapping[str, NicNote]:
    """Return the notes of NICs, by NIC, all or those of one bridge."""
    found = {
        name.removeprefix(PREFIX): decode(text)
        for name, text in notes.items()
        if name.startswith(PREFIX)
    }
    return {
        nic: note
        for nic, note in found.items()
        if note is not None and bridge in (None, note.bridge)
    }
