"""The port that a segment without a gateway is asked from: which it is, and when it is amiss."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from netaddr import IPNetwork

from ovsdriver.adapters.store import records
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode, Network
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.diff import Difference, compare
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedLink, ObservedPort
from ovsdriver.domain.wires.plumbing import Probe
from tests.builders import RED, a_network, a_segment

OWNER = "ovsnet"
PROBE = names.probe_link(RED)
FLAT = a_network(
    mode=Mode.FLAT, probe=True, segment=a_segment("br-lab", 30, adopted=True), mtu=1400
)


def the_probe(network: Network = FLAT) -> Probe:
    probe = desired.probe(network, owner=OWNER)
    assert probe is not None
    return probe


@pytest.mark.parametrize("mode", [Mode.FLAT, Mode.ISOLATED])
def test_a_segment_without_a_gateway_is_asked_from_a_port_of_its_own(mode: Mode) -> None:
    network = replace(FLAT, mode=mode)
    port = the_probe(network).port
    assert (port.name, port.bridge, port.tag, port.internal) == (PROBE, "br-lab", 30, True)
    assert port.external_ids == {
        "ovsnet-owner": OWNER,
        "ovsnet-network": RED,
        "ovsnet-purpose": "probe",
    }
    assert desired.asking_link(network, owner=OWNER) == PROBE


def test_a_gateway_asks_by_itself() -> None:
    network = a_network(probe=True)
    assert desired.probe(network, owner=OWNER) is None
    assert desired.asking_link(network, owner=OWNER) == names.gateway_link(RED)


def test_a_network_that_is_not_to_be_asked_has_no_port_for_it() -> None:
    network = replace(FLAT, probe=False)
    assert desired.probe(network, owner=OWNER) is None
    assert desired.asking_link(network, owner=OWNER) is None


def test_a_port_on_no_vlan_is_tagged_zero_and_never_without_a_tag() -> None:
    assert the_probe(replace(FLAT, segment=a_segment("br-lab", 0))).port.tag == 0


def test_two_networks_ask_with_two_macs() -> None:
    other = a_network("b2" * 32, mode=Mode.FLAT, probe=True)
    assert the_probe().port.mac != the_probe(other).port.mac


def test_a_record_remembers_that_its_segment_is_asked_and_an_older_one_says_no() -> None:
    written = records.encode(FLAT)
    assert records.decode(Network, written) == FLAT
    older = written.replace('"probe":true,', "")
    assert older != written
    assert records.decode(Network, older) == replace(FLAT, probe=False)


def a_port(**changes: Any) -> ObservedPort:
    wanted = the_probe().port
    values: dict[str, Any] = {
        "bridge": "br-lab",
        "tag": 30,
        "vlan_mode": "access",
        "ofport": 1,
        "ifindex": 7,
        "external_ids": wanted.external_ids,
    } | changes
    return ObservedPort(name=PROBE, **values)


def a_link(**changes: Any) -> ObservedLink:
    values: dict[str, Any] = {"kind": "tun", "mtu": 1400, "up": True} | changes
    return ObservedLink(name=PROBE, index=7, **values)


def difference(
    network: Network = FLAT, *, ports: tuple[ObservedPort, ...] = (), links: object = ()
) -> Difference:
    bridge = ObservedBridge(name="br-lab", datapath=Datapath.NETDEV, owned=False, ports=ports)
    found: Mapping[str, ObservedLink] = {PROBE: links} if isinstance(links, ObservedLink) else {}
    return compare([network], [], owner=OWNER, bridges={"br-lab": bridge}, links=found)


def test_a_port_that_is_as_recorded_needs_nothing() -> None:
    assert difference(ports=(a_port(),), links=a_link()) == Difference()


@pytest.mark.parametrize(
    ("port", "link", "why"),
    [
        pytest.param(None, a_link(), f"port {PROBE} is not there", id="port"),
        pytest.param(a_port(tag=None), a_link(), "has VLAN None, not 30", id="trunk"),
        pytest.param(a_port(tag=31), a_link(), "has VLAN 31, not 30", id="vlan"),
        pytest.param(a_port(), None, "has no device", id="device"),
        pytest.param(a_port(), a_link(up=False), "is down", id="down"),
        pytest.param(a_port(), a_link(mtu=9000), "has MTU 9000, not 1400", id="mtu"),
        pytest.param(
            a_port(),
            a_link(addresses=(IPNetwork("10.1.0.77/24"),)),
            "has 10.1.0.77/24, which ovsnet did not set",
            id="address",
        ),
    ],
)
def test_what_is_amiss_is_repaired_with_the_network(
    port: ObservedPort | None, link: ObservedLink | None, why: str
) -> None:
    (repair,) = difference(ports=(port,) if port else (), links=link).repairs
    assert (repair.subject, repair.finish) == (f"network {RED[:12]}", False)
    assert why in repair.why


def test_a_port_of_a_network_that_is_not_asked_any_more_is_removed() -> None:
    seen = difference(replace(FLAT, probe=False), ports=(a_port(),), links=a_link())
    (repair,) = seen.repairs
    assert (repair.finish, repair.why) == (False, f"port {PROBE} was left over from a question")
    assert seen.beyond == ()
