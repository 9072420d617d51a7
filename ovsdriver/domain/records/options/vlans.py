"""Sets of VLAN ids as people write them. Pure."""

from collections.abc import Iterable


def text(vlans: Iterable[int]) -> str:
    """Return ``10,20-30`` for ids in any order; empty for none."""
    parts: list[tuple[int, int]] = []
    for vlan in sorted(set(vlans)):
        if parts and parts[-1][1] == vlan - 1:
            parts[-1] = (parts[-1][0], vlan)
        else:
            parts.append((vlan, vlan))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)
