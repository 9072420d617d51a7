from collections.abc import Sequence
from pathlib import Path

from netaddr import IPNetwork

from ovsdriver.adapters.kernel.host.surroundings import HostSurroundings
from ovsdriver.domain.plan.planning import overlap
from ovsdriver.domain.wires.observed import RouteKind
from ovsdriver.ports import Route


class Routes:
    async def taken(self, near: Sequence[IPNetwork]) -> Sequence[Route]:
        return [
            Route(destination=IPNetwork(destination), kind=kind, link=link)
            for destination, kind, link in (
                ("192.0.2.0/24", RouteKind.UNICAST, "eth0"),
                ("192.0.2.7/32", RouteKind.LOCAL, "eth0"),
                ("203.0.113.9/32", RouteKind.LOCAL, "lo"),
                ("10.0.0.0/8", RouteKind.BLACKHOLE, ""),
                ("10.5.5.5/32", RouteKind.LOCAL, "lo"),
                ("2001:db8::/64", RouteKind.UNICAST, "eth0"),
                ("2001:db8::7/128", RouteKind.LOCAL, "eth0"),
            )
            if any(overlap(IPNetwork(destination), each) for each in near)
        ]


IPV4 = [IPNetwork("0.0.0.0/0")]
SERVERS = [("198.51.100.7/32", "name server", True), ("fe80::1/128", "name server", True)]


async def test_routes_own_addresses_and_name_servers_of_a_family_are_occupied(
    tmp_path: Path,
) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("# none\nnameserver 198.51.100.7\nnameserver fe80::1%eth0\nnameserver x\n")
    around = HostSurroundings(Routes(), resolvers=[resolver, tmp_path / "absent"])  # type: ignore[arg-type]
    assert [(str(o.network), o.why, o.firm) for o in await around.occupied(IPV4)] == [
        ("192.0.2.0/24", "route via eth0", True),
        ("203.0.113.9/32", "address of lo", True),
        ("10.0.0.0/8", "blackhole route", False),
        ("10.5.5.5/32", "address of lo", True),
        *SERVERS,
    ]
    ipv6 = await around.occupied([IPNetwork("2001:db8::/32")])
    assert [(str(o.network), o.why, o.firm) for o in ipv6] == [
        ("2001:db8::/64", "route via eth0", True),
        *SERVERS,
    ]
