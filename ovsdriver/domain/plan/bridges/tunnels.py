"""QinQ: customers' tags below a network's own. What can be refused about it; pure."""

from collections.abc import Mapping, Sequence

from ovsdriver.domain.records.options import vlans
from ovsdriver.domain.records.options.port_options import VlanMode, VlanTag
from ovsdriver.errors import InvalidOptionError, UnsupportedError

INNER_TAG_BYTES = 4
"""What a customer's tag takes of the room that a NIC has for one tag beyond its MTU."""

_LIMIT = "vlan-limit"
_DEFAULT_LIMIT = 1


def looks_at_two(other_config: Mapping[str, str]) -> bool:
    """Whether Open vSwitch looks at two tags of a frame: ``other_config`` is of its root row."""
    try:
        limit = int(other_config.get(_LIMIT, _DEFAULT_LIMIT))
    except ValueError:
        limit = _DEFAULT_LIMIT
    return limit <= 0 or limit > 1


def check(mode: VlanMode | None, cvlans: Sequence[VlanTag], tag: int, *, two_tags: bool) -> None:
    """Refuse what cannot be a tunnel in the segment ``tag``.

    Raises:
        InvalidOptionError: the options contradict each other.
        UnsupportedError: Open vSwitch is not set up for two tags.
    """
    if mode is not VlanMode.DOT1Q_TUNNEL:
        if cvlans:
            raise InvalidOptionError(
                f"ovs.cvlans={vlans.text(cvlans)} is about tags inside of a service tag; add "
                "ovs.vlan_mode=dot1q-tunnel, or leave it out"
            )
        return
    if not tag:
        raise InvalidOptionError(
            f"ovs.vlan_mode={mode} needs a service tag, and ovs.vlan=none is none; choose "
            "ovs.vlan=1..4094"
        )
    if not two_tags:
        raise UnsupportedError(
            f"ovs.vlan_mode={mode}: Open vSwitch on this host reads one VLAN tag of a frame, on "
            "all its bridges; allow two yourself: ovs-vsctl set Open_vSwitch . "
            "other_config:vlan-limit=2"
        )
