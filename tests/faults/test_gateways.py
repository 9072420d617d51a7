"""What is done to a gateway by hand, and what goes through it meanwhile."""

import json
from collections.abc import Callable

import pytest

from tests.e2e.bed import Bed
from tests.e2e.reach.test_published import dual, hears, server
from tests.e2e.stage import Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until

pytestmark = pytest.mark.docker

Harm = Callable[[Bed, str], object]

SOON_S = 15
"""Half of the time between two looks that nothing gives reason to, the first of which is just over
when a test begins."""


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda bed, link: bed.ovs_vsctl("del-port", link), id="port"),
        pytest.param(lambda bed, link: bed.ovs_vsctl("del-br", "br-ovsnet"), id="bridge"),
        pytest.param(lambda bed, link: bed.ip("link", "del", link), id="device"),
    ],
)
def test_ports_published_on_localhost_are_back_with_the_gateway(
    bed: Bed, stage: Stage, host: Place, harm: Harm
) -> None:
    network = stage.network("one", subnet="10.77.1.0/24")
    server(stage, "ann", network, "--publish", "127.0.0.1:8080:80")
    link = f"ovg{network.id[:12]}"
    for family in ("ipv4", "ipv6"):
        forwards = bed.sysctl(f"net/{family}/conf/default/forwarding")
        assert forwards == "1", "so a new device has it already, and says nothing of interest"
    hears(host, f"ann {network.gateway()}", "tcp", "127.0.0.1", 8080)
    bed.restart_plugin()
    (before,) = bed.ip("-o", "link", "show", link).split(":")[:1]
    harm(bed, link)
    until(
        lambda: bed.attempt("ip", "-o", "link", "show", link).out.split(":")[0] not in ("", before),
        "there is another device",
        timeout_s=SOON_S,
    )
    hears(host, f"ann {network.gateway()}", "tcp", "127.0.0.1", 8080)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda bed, link: bed.ip("-4", "addr", "flush", "dev", link), id="ipv4"),
        pytest.param(
            lambda bed, link: bed.ip("-6", "addr", "flush", "scope", "global", "dev", link),
            id="ipv6",
        ),
        pytest.param(lambda bed, link: bed.ip("link", "set", link, "down"), id="down"),
        pytest.param(lambda bed, link: bed.ip("link", "del", link), id="gone"),
    ],
)
def test_what_is_done_to_a_gateway_is_noticed_at_once(bed: Bed, stage: Stage, harm: Harm) -> None:
    network = dual(stage, "one", 1)
    ann = stage.container("ann", network)
    link = f"ovg{network.id[:12]}"

    def well() -> bool:
        said = bed.attempt("ip", "-json", "addr", "show", link).out
        (device,) = json.loads(said or "[{}]")
        held = {each["local"] for each in device.get("addr_info", ())}
        wanted = {network.gateway(4), network.gateway(6)}
        return wanted <= held and "UP" in device["flags"]

    until(well, "the gateway is as it should be")
    bed.restart_plugin()
    harm(bed, link)
    until(well, "the gateway is as it should be again", timeout_s=SOON_S)
    for family in (4, 6):
        until(lambda family=family: ann.pings(network.gateway(family)), "ann pings its gateway")
    lately = json.loads(bed.ovsnet("status", "--json"))["repairs"]["lately"]
    assert any(f"network {network.id[:12]}" in each["what"] for each in lately), lately
