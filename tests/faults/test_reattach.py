"""Running containers get their network back, whatever of it was destroyed, without a restart."""

import json
from contextlib import ExitStack
from functools import partial
from signal import SIGKILL, SIGTERM, Signals
from typing import Any

import pytest

from tests.e2e import image
from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.sessions import held
from tests.e2e.stage import Container, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

V6 = ("--ipv6", "--subnet", "fd00:77:1::/64")


def endpoints(bed: Bed, container: str) -> dict[str, Any]:
    """Return what ``ovsnet endpoint show`` says of a container, by network."""
    shown = json.loads(bed.ovsnet("endpoint", "show", container, "--json"))
    return {each["network_name"]: each for each in shown}


def sees(place: Place) -> dict[str, list[str]]:
    """Return all that a container sees of its network, when IPv6 has checked its addresses."""

    def checked() -> bool:
        found = (address for each in place.sees("address") for address in each["addr_info"])
        return not any(address.get("tentative") for address in found)

    until(checked, f"no address of {place.name} is tentative any more")
    links = [
        # a tap that vswitchd holds listens to everything
        {k: each[k] for k in ("ifindex", "ifname", "address", "mtu")}
        | {"flags": sorted({*each["flags"]} - {"PROMISC"})}
        for each in place.sees("link")
    ]
    held = [
        {k: v for k, v in address.items() if k != "tentative"}
        for each in place.sees("address")
        for address in each["addr_info"]
    ]
    routes = [
        each
        for family in ("-4", "-6")
        for each in place.sees(family, "route", "show", "table", "all")
    ]
    folders = (f"/proc/sys/net/{family}/conf" for family in ("ipv4", "ipv6"))
    settings = place.world.attempt("grep", "-rs", "", *folders, netns=place.netns).out
    return {
        "links": sorted(map(str, links)),
        "addresses": sorted(map(str, held)),
        "routes": sorted(map(str, routes)),
        "settings": sorted(settings.splitlines()),
    }


def changed_by_its_people(place: Place) -> None:
    """Change what one may change in a container with NET_ADMIN."""
    for command in (
        ("ip", "addr", "add", "192.0.2.77/32", "dev", "eth0"),
        ("ip", "route", "add", "10.99.0.0/16", "via", "10.77.1.1", "metric", "7"),
        ("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/eth0/proxy_arp"),
    ):
        place.world.run(*command, netns=place.netns)


def as_before(place: Place, before: dict[str, list[str]]) -> None:
    """Assert that a container sees what it saw; the kernel takes a moment for IPv6."""
    last: list[str] = []

    def same() -> bool:
        now = sees(place)
        last[:] = [
            f"{part}: {sorted({*before[part]} ^ {*now[part]})}"
            for part in before
            if before[part] != now[part]
        ]
        return not last

    until(same, lambda: f"{place.name} sees what it saw\n" + "\n".join(last), timeout_s=60)


def test_a_deleted_pair_is_put_back_into_its_running_container(bed: Bed, stage: Stage) -> None:
    one = stage.network("one", *V6, subnet="10.77.1.0/24")
    two = stage.network("two", "-o", "ovs.mtu=1400", subnet="10.77.2.0/24")
    a = stage.container("ann", one)
    bed.docker("network", "connect", "two", "ann")
    b, c = stage.container("bob", one), stage.container("cat", two)
    shared = ("--name", "dan", "--network", "container:ann", image.NAME, "sleep", "1000")
    bed.docker("run", "--detach", "--stop-signal", "SIGKILL", *shared)
    changed_by_its_people(a)
    bed.ovsnet("reconcile")  # which looks into it as well
    before, d = sees(a), Container(bed, "dan")
    links = {network: each["port_name"] for network, each in endpoints(bed, "ann").items()}

    def delete(*networks: str) -> None:
        for network in networks:
            bed.ip("link", "del", links[network])

    with ExitStack() as undo:
        sessions = [
            *undo.enter_context(held(a, b, b.address(one), b.address(one, 6))),
            *undo.enter_context(held(a, c, c.address(two))),
        ]
        for lost in (("one",), ("two",), ("one", "two")):
            delete(*lost)
            for session in sessions:
                session.goes_on()
            as_before(a, before)
        bed.plugin.stop(SIGKILL)
        delete("one", "two")
        bed.docker("pause", "ann")
        bed.start_plugin()
        as_before(a, before)
        bed.docker("unpause", "ann")
        for session in sessions:
            session.goes_on()
    status = json.loads(bed.ovsnet("status", "--json"))["repairs"]
    assert any("is gone" in each["what"] for each in status["lately"])
    assert (status["failed"], status["beyond"]) == ([], [])
    b.reaches(a.address(one), who="ann")
    a.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
    as_before(d, before)
    bed.docker("network", "disconnect", "two", "ann")
    assert a.links() == {"eth0"}
    bed.docker("restart", "ann")
    a.reaches(b.address(one), who="bob")


def test_internal_ports_gateways_and_bridges_come_back_with_what_went_through_them(
    bed: Bed, stage: Stage, outside: Place
) -> None:
    one = stage.network("one", *V6, "-o", "ovs.port=internal", subnet="10.77.1.0/24")
    two = stage.network("two", "-o", "ovs.port=internal", subnet="10.77.2.0/24")
    a = stage.container("ann", one, "-p", "8080:80")
    bed.docker("network", "connect", "two", "ann")
    b, c = stage.container("bob", one), stage.container("cat", two)
    veth = stage.container("eve", "name=one,driver-opt=ovs.port=veth")
    changed_by_its_people(a)
    bed.ovsnet("reconcile")
    before = sees(a)

    def lose_database(*, stopped: bool) -> None:
        if stopped:
            bed.vswitchd.stop()
        bed.ovsdb.stop()
        (bed.home / "conf.db").unlink()
        schema = "/usr/share/openvswitch/vswitch.ovsschema"
        bed.run("ovsdb-tool", "create", str(bed.home / "conf.db"), schema)
        bed.start_ovsdb()
        if stopped:
            bed.start_vswitchd()

    def restart_vswitchd(number: Signals) -> None:
        bed.vswitchd.stop(number)
        bed.start_vswitchd()

    def delete_device() -> None:
        bed.ip("link", "del", "eth0", netns=a.netns)
        bed.ovsnet("reconcile")  # nobody else has heard of it

    def delete_port() -> None:
        bed.ovs_vsctl("del-port", endpoints(bed, "ann")["one"]["port_name"])

    with ExitStack() as undo:
        sessions = [
            *undo.enter_context(held(a, b, b.address(one), b.address(one, 6))),
            *undo.enter_context(held(a, c, c.address(two))),
            *undo.enter_context(held(veth, a, a.address(one))),
            *undo.enter_context(held(a, outside, OUTSIDE4, OUTSIDE6)),
        ]
        for fault in (
            partial(restart_vswitchd, SIGKILL),
            partial(restart_vswitchd, SIGTERM),
            partial(lose_database, stopped=False),
            partial(lose_database, stopped=True),
            partial(bed.ovs_vsctl, "del-br", "br-ovsnet"),
            delete_port,
            delete_device,
        ):
            fault()
            for session in sessions:
                session.goes_on()
            as_before(a, before)
            outside.reaches(WAN4, who="ann", port=8080)
        bed.docker("pause", "ann")
        restart_vswitchd(SIGKILL)
        as_before(a, before)
        bed.docker("unpause", "ann")
    status = json.loads(bed.ovsnet("status", "--json"))["repairs"]
    assert (status["failed"], status["beyond"]) == ([], [])
    bed.docker("network", "disconnect", "two", "ann")
    until(lambda: a.links() == {"eth0"}, "the port on two is gone")
    bed.docker("restart", "ann")
    a.reaches(b.address(one), who="bob")


def test_a_container_that_ends_while_it_is_cut_off_leaves_nothing(bed: Bed, stage: Stage) -> None:
    """The bed's own comparison finds what is left."""
    one = stage.network("one", subnet="10.77.1.0/24")
    inner = stage.network("inner", "-o", "ovs.port=internal", subnet="10.77.2.0/24")
    a, b = stage.container("ann", one), stage.container("bob", inner)
    bed.vswitchd.stop(SIGKILL)
    bed.ip("link", "del", endpoints(bed, "ann")["one"]["port_name"])
    bed.run("kill", "-9", str(a.pid), str(b.pid))
    bed.start_vswitchd()
    until(lambda: not (a.running or b.running), "Docker knows that they have ended")
    for name, network in (("ann", one), ("bob", inner)):
        bed.docker("start", name)
        until(lambda n=name, w=network: Container(bed, n).pings(w.gateway()), f"{name} talks")


def test_reconcile_says_what_it_would_mend_and_mends_it_now(bed: Bed, stage: Stage) -> None:
    one = stage.network("one", subnet="10.77.1.0/24")
    a = stage.container("ann", one)
    bed.ovsnet("reconcile")
    gateway = json.loads(bed.ovsnet("network", "show", "one", "--json"))["gateway_link"]
    link = endpoints(bed, "ann")["one"]["port_name"]
    bed.ip("address", "del", "10.77.1.1/24", "dev", gateway)
    bed.ip("link", "set", link, "down")
    found = json.loads(bed.ovsnet("reconcile", "--dry-run", "--json"))["found"]
    lately = json.loads(bed.ovsnet("status", "--json"))["repairs"]["lately"]
    # a look that came by itself may just have been before
    known = [*found, *(mended["what"] for mended in lately)]
    for what in (f"gateway {gateway} lacks 10.77.1.1/24", f"its link {link} is down"):
        assert [each for each in known if what in each], known
    bed.ovsnet("reconcile")
    assert a.pings(one.gateway(), count=3)
    status = bed.ovsnet("status")
    assert f"gateway {gateway} lacks 10.77.1.1/24" in status
    assert f"its link {link} is down" in status
    assert bed.ovsnet("reconcile", "--dry-run") == "all is as recorded, nothing to mend"


def test_what_is_too_much_to_be_put_back_is_said(bed: Bed, stage: Stage) -> None:
    stage.network("one", subnet="10.77.1.0/24")
    a = stage.container("ann", "one")
    many = [f"route add 10.{100 + n // 250}.{n % 250}.0/24 via 10.77.1.1" for n in range(1500)]
    bed.run("ip", "-batch", "-", netns=a.netns, stdin="\n".join(many))
    bed.ovsnet("reconcile")  # which looks into it as well
    lost = "501 of the 1501 routes of eth0"
    assert lost in bed.ovsnet("endpoint", "show", "ann")
    assert f"{lost} would not be put back" in " ".join(bed.ovsnet("status").split())

    bed.ip("link", "del", endpoints(bed, "ann")["one"]["port_name"])
    count = ("ip", "route", "show", "dev", "eth0", "proto", "boot")
    until(
        lambda: len(bed.attempt(*count, netns=a.netns).out.splitlines()) == 1000,
        "the others are put back",
        timeout_s=60,
    )
    assert 'what="501 of the 1501 routes of eth0' in (bed.home / "plugin.log").read_text()
