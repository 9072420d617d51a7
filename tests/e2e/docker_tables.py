"""The nftables of engine 29 with ``firewall-backend: nftables``, for beds whose engine has none.

What they do is Docker's: a table of each family, whose chains at the hooks look a bridge up in
verdict maps, let out what comes from it, let in what belongs to a connection or to a published
port, and drop the rest. Nothing else is judged, and no policy drops.
"""

from collections.abc import Mapping, Sequence

Published = tuple[str, int, str, int]
"""Bridge, port of the host, the container's address and port; TCP."""

_MAPS = ("filter-forward-in", "filter-forward-out", "nat-postrouting-out")


def render(family: int, bridges: Mapping[str, str], published: Sequence[Published]) -> str:
    """Return a table, as ``nft -f`` reads it.

    Args:
        family: 4 or 6.
        bridges: subnets by bridge.
        published: ports of containers.
    """
    word, loopback = ("ip", "127.0.0.0/8") if family == 4 else ("ip6", "::1")
    lines = [f"table {word} docker-bridges {{"]
    for name in _MAPS:
        jumps = ", ".join(f'"{each}" : jump {name}__{each}' for each in bridges)
        lines.append(f"map {name}-jumps {{ type ifname : verdict; elements = {{ {jumps} }}; }}")
    for bridge, subnet in bridges.items():
        opened = [
            f"{word} daddr {address} tcp dport {port} accept"
            for at, _, address, port in published
            if at == bridge
        ]
        known = "ct state established,related accept"
        lines += _chain(
            f"filter-forward-in__{bridge}", known, f'iifname "{bridge}" accept', *opened, "drop"
        )
        lines += _chain(f"filter-forward-out__{bridge}", known, "accept")
        masquerade = f'oifname != "{bridge}" {word} saddr {subnet} masquerade'
        lines += _chain(f"nat-postrouting-out__{bridge}", masquerade)
    lines += _chain(
        "nat-prerouting-and-output",
        *(
            f'iifname != "{bridge}" tcp dport {host_port} dnat to '
            + (f"{address}:{port}" if family == 4 else f"[{address}]:{port}")
            for bridge, host_port, address, port in published
        ),
    )
    local = "fib daddr type local jump nat-prerouting-and-output"
    for hook, rules in {
        ("filter", "FORWARD", "filter"): [
            "oifname vmap @filter-forward-in-jumps",
            "iifname vmap @filter-forward-out-jumps",
        ],
        ("nat", "POSTROUTING", "srcnat"): ["iifname vmap @nat-postrouting-out-jumps"],
        ("nat", "PREROUTING", "dstnat"): [local],
        ("nat", "OUTPUT", "dstnat"): [f"{word} daddr != {loopback} {local}"],
        ("raw", "PREROUTING", "raw"): [
            f'{word} daddr {address} iifname != "{bridge}" drop'
            for bridge, _, address, _ in published
        ],
    }.items():
        kind, where, priority = hook
        at = f"type {'nat' if kind == 'nat' else 'filter'} hook {where.lower()} priority {priority}"
        lines += _chain(f"{kind}-{where}", f"{at}; policy accept;", *rules)
    return "\n".join([*lines, "}"])


def _chain(name: str, *rules: str) -> list[str]:
    return [f"chain {name} {{", *rules, "}"]
