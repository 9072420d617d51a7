"""How a NIC was before it became an uplink: noted durably before it is touched, put back after.

A note's key names the NIC, its value is JSON. Notes are read tolerantly, since they outlive the
program that wrote them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from netaddr import AddrFormatError, IPAddress, IPNetwork

from ovsdriver.domain.records.on_link import Held, HeldAddress, HeldRoute

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


def key(nic: str) -> str:
    """Return the key of a NIC's note."""
    return f"{PREFIX}{nic}"


def encode(note: NicNote) -> str:
    """Return a note as text."""
    return json.dumps(asdict(note), separators=(",", ":"), default=str)


def decode(text: str) -> NicNote | None:
    """Return the note that ``text`` holds; None if it holds none."""
    try:
        members = json.loads(text)
        held = members.get("held", {})
        local = members.get("local")
        return NicNote(
            bridge=str(members["bridge"]),
            before=state(members["before"]),
            held=Held(
                addresses=tuple(map(_address, held.get("addresses", ()))),
                routes=tuple(map(_route, held.get("routes", ()))),
            ),
            local=None if local is None else state(local),
            moved=bool(members.get("moved", False)),
            boot=str(members.get("boot", "")),
        )
    except (ValueError, TypeError, KeyError, AttributeError, AddrFormatError):
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


def state(members: Mapping[str, Any]) -> NicState:
    """Return the state that a note's members describe."""
    known = NicState.__dataclass_fields__
    found = {name: value for name, value in members.items() if name in known}
    return NicState(**found | {"neighbours": tuple(found.get("neighbours", ()))})


def _address(members: Mapping[str, Any]) -> HeldAddress:
    return HeldAddress(
        address=IPNetwork(members["address"]),
        permanent=bool(members["permanent"]),
        message=str(members["message"]),
    )


def _route(members: Mapping[str, Any]) -> HeldRoute:
    gateway = members["gateway"]
    return HeldRoute(
        text=str(members["text"]),
        gateway=None if gateway is None else IPAddress(gateway),
        message=str(members["message"]),
    )
