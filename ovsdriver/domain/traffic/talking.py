"""Who talks to whom, of what the datapath's flows have counted. Pure.

Under the NORMAL action each flow of a datapath has the MACs of both ends and the port that it came
in by, so that counts bytes for each pair, none of them sampled, in userspace as in the kernel.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_FLOW = re.compile(
    r"recirc_id\(0\)\S*?in_port\((?P<port>[^)]+)\)\S*?"
    r"eth\(src=(?P<source>[0-9a-f:]{17})[^,]*,dst=(?P<target>[0-9a-f:]{17})[^)]*\)"
    r".*?, packets:(?P<packets>\d+), bytes:(?P<bytes>\d+),"
)
"""One that a packet meets first: what comes round again was counted there."""

_GROUP_BIT = 0x01
EVERYONE = "everyone"
"""To whom broadcasts and multicasts go."""


class Count(NamedTuple):
    """What has passed."""

    bytes: int = 0
    packets: int = 0


class Pair(NamedTuple):
    """One direction of a conversation, as a flow has it."""

    port: str
    """By which it came in."""
    source: str
    """A MAC, with colons."""
    target: str


Flows = Mapping[str, tuple[Pair, Count]]
"""Flows of a datapath by what they match."""


def read(lines: Iterable[str]) -> Flows:
    """Read what ``dpctl/dump-flows --names`` says; what has no MACs is left out."""
    found = {}
    for line in lines:
        flow = _FLOW.search(line)
        if flow is not None:
            pair = Pair(flow["port"], flow["source"], flow["target"])
            count = Count(int(flow["bytes"]), int(flow["packets"]))
            found[line[: flow.start("packets")]] = (pair, count)
    return found


def between(before: Flows, after: Flows) -> Mapping[Pair, Count]:
    """Return what passed from one reading to the next; a flow lives for ten idle seconds."""
    passed: dict[Pair, Count] = {}
    for match, (pair, count) in after.items():
        _, earlier = before.get(match, (pair, Count()))
        if earlier.packets > count.packets:  # it ended meanwhile, and came again
            earlier = Count()
        new = Count(count.bytes - earlier.bytes, count.packets - earlier.packets)
        if new.packets:
            had = passed.get(pair, Count())
            passed[pair] = Count(had.bytes + new.bytes, had.packets + new.packets)
    return passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Something that talks: a container on a network, a gateway, an uplink."""

    name: str
    network: str = ""
    """Id of its network."""


@dataclass(slots=True)
class Places:
    """Who is behind which port and MAC."""

    by_port: dict[str, Place] = field(default_factory=dict)
    by_mac: dict[str, list[Place]] = field(default_factory=dict)

    def add(self, place: Place, *, port: str, mac: str = "") -> None:
        """Note where something is."""
        self.by_port[port] = place
        if mac:
            self.by_mac.setdefault(mac, []).append(place)

    def ends(self, pair: Pair) -> tuple[str, str]:
        """Return the names of both ends; a MAC where nobody is known to have it."""
        source = self.by_port.get(pair.port) or self._of(pair.source, "")
        target = self._of(pair.target, "" if source is None else source.network)
        if int(pair.target[:2], 16) & _GROUP_BIT:
            return (pair.source if source is None else source.name), EVERYONE
        return (
            pair.source if source is None else source.name,
            pair.target if target is None else target.name,
        )

    def _of(self, mac: str, network: str) -> Place | None:
        # Two networks with one subnet have the same MACs; who sends tells which is meant.
        places = self.by_mac.get(mac, [])
        near = [each for each in places if each.network == network]
        return next(iter(near or places), None)
