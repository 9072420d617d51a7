"""What the host's kernel has that networks depend on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

COMMANDS: Mapping[str, Sequence[str]] = {
    "links.txt": ("ip", "-d", "-s", "link"),
    "addresses.txt": ("ip", "address"),
    "routes.txt": ("ip", "route", "show", "table", "all"),
    "routes6.txt": ("ip", "-6", "route", "show", "table", "all"),
    "policy.txt": ("ip", "rule"),
    "neighbours.txt": ("ip", "neighbour"),
    "queues.txt": ("tc", "-s", "qdisc"),
    "sockets.txt": ("ss", "-Hlntu"),
}
"""Parts that are what a program says."""

_TREE = Path("/proc/sys/net")
_WANTED = (
    *("ipv4/ip_forward", "ipv4/ip_local_port_range", "ipv4/ip_nonlocal_bind"),
    *("ipv4/conf/*/forwarding", "ipv4/conf/*/rp_filter", "ipv4/conf/*/route_localnet"),
    *("ipv4/conf/*/arp_*", "ipv4/conf/*/proxy_arp"),
    *("ipv6/conf/*/forwarding", "ipv6/conf/*/force_forwarding", "ipv6/conf/*/accept_ra"),
    *("ipv6/conf/*/disable_ipv6", "ipv6/bindv6only"),
    *("ipv[46]/neigh/default/gc_thresh*", "netfilter/nf_conntrack_max"),
    *("netfilter/nf_conntrack_count", "netfilter/nf_conntrack_buckets"),
    *("bridge/*", "core/rmem_*", "core/wmem_*", "core/somaxconn", "core/netdev_max_backlog"),
)
"""Named one by one: the tree has secrets, such as what stable addresses are made of."""


def sysctls() -> str:
    """Return the kernel's settings, a line each."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    for pattern in _WANTED:
        for path in sorted(_TREE.glob(pattern)):
            with suppress(OSError):
                yield f"net/{path.relative_to(_TREE)} = {path.read_text().strip()}\n"
