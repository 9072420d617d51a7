"""Every option that is not marked as fixed changes while a container has the network.

Who adds a row adds an example here, or says in the row why it is fixed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from ovsdriver.domain.records.model import EndpointId
from ovsdriver.words import options
from ovsdriver.words.changes import OtherOptions
from ovsdriver.words.options import Option, Scope
from tests.builders import FIRST, RED
from tests.unit.service.conftest import Host

BRIDGE = "com.docker.network.bridge."


@dataclass(frozen=True)
class Example:
    """A value of an option, and what it needs beside it."""

    value: str
    first: Mapping[str, str] = field(default_factory=dict)
    """Of the network, from its creation."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Changed with it."""
    family: int = 4


BOND = {"ovs.uplink": "eth1+eth2", "ovs.vlan": "10"}
TUNNEL = {"ovs.vlan_mode": "dot1q-tunnel"}
SHAPES = {
    "ovs.rate": Example("10mbit+2mbit"),
    "ovs.burst": Example("64kb", beside={"ovs.rate": "10mbit"}),
    "ovs.broadcast": Example("100"),
    "ovs.delay": Example("20ms"),
    "ovs.jitter": Example("5ms", beside={"ovs.delay": "20ms"}),
    "ovs.loss": Example("1%"),
}

EXAMPLES: Mapping[Scope, Mapping[str, Example]] = {
    Scope.NETWORK: SHAPES
    | {
        "ovs.vlan": Example("30"),
        "ovs.vlan_mode": Example("dot1q-tunnel"),
        "ovs.cvlans": Example("5-7", first=TUNNEL),
        "ovs.trunks": Example("5-7"),
        "ovs.shared": Example("true"),
        "ovs.mode": Example("routed"),
        f"{BRIDGE}gateway_mode_ipv4": Example("routed"),
        f"{BRIDGE}gateway_mode_ipv6": Example("routed", family=6),
        "ovs.isolate": Example("true"),
        "ovs.icc": Example("false"),
        "ovs.host": Example("none"),
        "ovs.guard": Example("true"),
        "ovs.mirror": Example("sink:ids"),
        "ovs.mcast": Example("true"),
        "ovs.control_frames": Example("forward"),
        "ovs.controller": Example("tcp:192.0.2.9"),
        "ovs.failmode": Example("secure"),
        "ovs.protocols": Example("OpenFlow13+OpenFlow14"),
        "ovs.sflow": Example("192.0.2.9/64"),
        "ovs.netflow": Example("192.0.2.9"),
        "ovs.ipfix": Example("192.0.2.9"),
        "ovs.sink": Example("ids"),
        "ovs.mtu": Example("1400"),
        "ovs.bond": Example("balance-slb", first=BOND),
        "ovs.lacp": Example("passive", first=BOND),
        "ovs.ifprefix": Example("lan"),
        f"{BRIDGE}enable_ip_masquerade": Example("false"),
        f"{BRIDGE}host_binding_ipv4": Example("127.0.0.1"),
    },
    Scope.ENDPOINT: SHAPES
    | {
        "ovs.mtu": Example("1400"),
        "ovs.vlan": Example("30"),
        "ovs.trunks": Example("5-7"),
        "ovs.vlan_mode": Example("native-tagged", beside={"ovs.trunks": "5"}),
        "ovs.cvlans": Example("5-7", beside=TUNNEL),
        "ovs.ofport": Example("77"),
        "ovs.protected": Example("true"),
        "ovs.guard": Example("true"),
        "ovs.mirror": Example("sink:ids"),
        "ovs.sink": Example("ids"),
    },
}

LIVE = [
    pytest.param(row, id=f"{scope.value}-{row.name}")
    for scope in EXAMPLES
    for row in options.rows(scope)
    if not row.fixed
]


@pytest.mark.parametrize("row", LIVE)
async def test_an_option_changes_and_is_kept_and_goes_back(host: Host, row: Option) -> None:
    example = EXAMPLES[row.scope][row.name]
    for nic in ("eth1", "eth2"):
        host.links.add_link(nic)
    host.switch.other_config = {"vlan-limit": "2"}
    await host.create_network(family=example.family, said=example.first)
    await host.run_container(FIRST)

    old, new = await change(host, row, {**example.beside, row.name: example.value})
    assert new is not None
    assert row.parse(new) == row.parse(example.value)
    assert old != new
    assert not (await host.reconciler.reconcile()).mended
    again = await host.restart()
    try:
        assert not (await again.reconciler.reconcile()).mended
        emptied = dict.fromkeys((*example.beside, row.name), "")
        assert await change(again, row, emptied) == (new, old)
    finally:
        await again.stop()


async def change(
    host: Host, row: Option, typed: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """Change options and return the old and the new value of that of ``row``."""
    if row.scope is Scope.NETWORK:
        done = await host.changes.network(RED, OtherOptions(typed=typed))
    else:
        done = await host.changes.endpoint(EndpointId(FIRST), OtherOptions(typed=typed))
    assert done.pending == ()
    return done.old[row.name], done.new[row.name]


def test_there_is_an_example_of_every_option() -> None:
    for scope, examples in EXAMPLES.items():
        assert examples.keys() == {row.name for row in options.rows(scope) if not row.fixed}
