"""A router's table: what the kernel keeps from us, and what is heard all the same."""

import socket
from collections.abc import Iterator

import pytest

from ovsdriver.adapters.kernel.codec.route_messages import Way
from ovsdriver.adapters.kernel.codec.rtnetlink import RouteSocket
from ovsdriver.adapters.kernel.host.host_watch import HostChange, HostWatch
from ovsdriver.adapters.kernel.host.host_ways import HostWays
from tests.integration.netns import Sandbox, own_namespace, run
from tests.integration.ovs import eventually

pytestmark = pytest.mark.netns


@pytest.fixture
def netns() -> Iterator[Sandbox]:
    with own_namespace() as here:
        for link, other in (("wan", "peer"), ("lan", "far")):
            run("ip", "link", "add", link, "type", "veth", "peer", "name", other)
            run("ip", "link", "set", link, "up")
            run("ip", "link", "set", other, "up")
        yield here


class ListeningWays(HostWays):
    """Notes what it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, bool]] = []

    def tells(self, way: Way, *, new: bool) -> bool:
        self.asked.append((f"{NAMES[way.link]}{way.family}{'*' * way.default}", new))
        return super().tells(way, new=new)


NAMES: dict[int, str] = {}


async def test_news_of_routes_by_a_busy_link_stay_in_the_kernel(netns: Sandbox) -> None:
    NAMES.update({socket.if_nametoindex(each): each for each in ("wan", "lan", "peer", "far")})
    wan = socket.if_nametoindex("wan")
    many = [f"route add 20.{n // 256}.{n % 256}.0/24 dev wan" for n in range(1500)]
    run("ip", "-batch", "-", stdin="\n".join(many))
    known, changes = ListeningWays(), list[HostChange]()
    routes = RouteSocket()
    watch = HostWatch(
        tables={"ovsnet": HostChange.TABLE},
        chains=(),
        own_thread=lambda: 0,
        links=lambda: (),
        known=dict,
        routes=known,
        changed=changes.append,
        gateway=lambda _: None,
        carrier=lambda *_: None,
    )
    watch.start()
    try:
        known.current(routes, frozenset(NAMES))
        assert known.busy == {Way(wan, 4, default=False)}
        watch.hush(known.busy)

        for change in (
            "add 30.0.0.0/8 dev wan",
            "del 20.0.7.0/24 dev wan",
            "add default dev wan",
            "add fd00:7::/64 dev wan",
            "add 40.0.0.0/8 dev lan",
        ):
            run("ip", "-6" if "fd00" in change else "-4", "route", *change.split())
        await eventually(lambda: ("lan4", True) in known.asked, "the last one is heard of")
    finally:
        watch.stop()
        routes.close()
    assert known.asked == [("wan4*", True), ("wan6", True), ("lan4", True)]
    assert set(changes) == {HostChange.HOST}
