from collections.abc import Sequence
from pathlib import Path

from netaddr import IPNetwork

from ovsdriver.adapters.surroundings import HostSurroundings
from ovsdriver.ports import Route


class Routes:
    async def routes(self) -> Sequence[Route]:
        return [
            Route(destination=IPNetwork("0.0.0.0/0"), link="eth0"),
            Route(destination=IPNetwork("192.0.2.0/24"), link="eth0"),
            Route(destination=IPNetwork("2001:db8::/64"), link="eth0"),
        ]


async def test_routes_and_name_servers_of_a_family_are_occupied(tmp_path: Path) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text("# none\nnameserver 198.51.100.7\nnameserver fe80::1%eth0\nnameserver x\n")
    around = HostSurroundings(Routes(), resolvers=[resolver, tmp_path / "absent"])  # type: ignore[arg-type]
    assert [(str(o.network), o.why) for o in await around.occupied(4)] == [
        ("192.0.2.0/24", "route via eth0"),
        ("198.51.100.7/32", "name server"),
    ]
    assert [str(o.network) for o in await around.occupied(6)] == ["2001:db8::/64", "fe80::1/128"]
