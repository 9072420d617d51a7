"""How a NIC was before it became an uplink: noted durably before it is touched, put back after.

A note's key names the NIC, its value is JSON. Notes are read tolerantly, since they outlive the
program that wrote them.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from netaddr import AddrFormatError, IPAddress, IPNetwork

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
class HeldAddress:
    """An address of the host on a link."""

    address: IPNetwork
    permanent: bool
    """It has no lifetime; those that DHCP and routers give mostly have."""
    message: str
    """All of it, as the kernel describes it, in hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRoute:
    """A route of the host through a link, but for those that come and go with an address."""

    text: str
    """For people, and to tell routes apart: destination, gateway, table and metric."""
    gateway: IPAddress | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the host has on a link."""

    addresses: tuple[HeldAddress, ...] = ()
    routes: tuple[HeldRoute, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.addresses or self.routes)

    def with_newer(self, other: "Held") -> "Held":
        """Return both; where both have the same thing, as ``other`` describes it."""
        addresses = {str(each.address): each for each in (*self.addresses, *other.addresses)}
        routes = {each.text: each for each in (*self.routes, *other.routes)}
        return Held(addresses=tuple(addresses.values()), routes=tuple(routes.values()))

    def lasting(self) -> "Held":
        """Return it without the addresses that DHCP or a router gave for a time."""
        return replace(self, addresses=tuple(each for each in self.addresses if each.permanent))

    def lacks(self, there: "Held") -> tuple[str, ...]:
        """Return the addresses that ``there`` does not have."""
        present = {str(each.address) for each in there.addresses}
        return tuple(
            str(each.address) for each in self.addresses if str(each.address) not in present
        )

    @property
    def gateways(self) -> tuple[IPAddress, ...]:
        """The routers that default routes lead to."""
        found = [each.gateway for each in self.routes if each.text.startswith("default ")]
        return tuple(dict.fromkeys(each for each in found if each is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class NicNote:
    """One NIC that we have taken."""

    bridge: str
    before: NicState
    held: Held = Held()
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
            before=_state(members["before"]),
            held=Held(
                addresses=tuple(map(_address, held.get("addresses", ()))),
                routes=tuple(map(_route, held.get("routes", ()))),
            ),
            local=None if local is None else _state(local),
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


def _state(members: Mapping[str, Any]) -> NicState:
    known = NicState.__dataclass_fields__
    return NicState(**{name: value for name, value in members.items() if name in known})


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
