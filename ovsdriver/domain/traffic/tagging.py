"""Which VLAN tags containers may send.

Pure. Open vSwitch takes a priority tag (IEEE 802.1Q, VLAN 0) for none and takes it off, as it takes
off the tag of a VLAN where it ends. A tag behind that is let through unseen, and arrives as the
frame's own: in whatever VLAN the sender wrote.
"""

from collections.abc import Iterable

from ovsdriver.domain.records.options.flows import Flow, Match, Stage, Vlan
from ovsdriver.domain.records.options.port_options import VlanTag

TYPES = (0x8100, 0x88A8, 0x9100, 0x9200, 0x9300)
"""EtherTypes of tags: those of IEEE 802.1Q, and those that switches had before. Open vSwitch knows
the first two, and says of a frame with more tags than it looks at (``vlan-limit``) that this is
its EtherType; of the others it says so always."""

_PASS, _DROP, _EXCEPT = 0, 4, 8


def untagged(*, two_tags: bool) -> frozenset[Flow]:
    """Return the flows for frames without a tag, or with a priority tag: no other may follow.

    The priority tag becomes one of 802.1Q: the network's own, on wires, takes its protocol over.

    Args:
        two_tags: Open vSwitch looks at two tags. Its userspace datapath then takes a frame with a
            tag behind the first for one without (measured with 3.5), so none may have a first.
    """
    return frozenset(
        (
            *(_drop(Match(vlan=Vlan.UNTAGGED, eth_type=each)) for each in TYPES),
            Flow(
                stage=Stage.TAGS,
                rank=_PASS,
                match=Match(vlan=Vlan.PRIORITY),
                passes=not two_tags,
                retags=not two_tags,
            ),
        )
    )


def trunk(tunnels: Iterable[VlanTag]) -> frozenset[Flow]:
    """Return the flows for a port that sends tags: no other may follow, but in ``tunnels``."""
    inside = (Match(vlan=Vlan.of(each)) for each in tunnels)
    return frozenset(
        (
            *(_drop(Match(vlan=Vlan.TAGGED, eth_type=each)) for each in TYPES),
            *(Flow(stage=Stage.TAGS, rank=_EXCEPT, match=each) for each in inside),
        )
    )


def _drop(match: Match) -> Flow:
    return Flow(stage=Stage.TAGS, rank=_DROP, match=match, passes=False)
