"""Who holds an address, as it is told to people."""

from dataclasses import replace

import pytest
from netaddr import IPAddress, IPNetwork

from ipam import Lease, LeaseKind, PoolId
from ovsdriver.admin.addresses import report as reports
from ovsdriver.domain.records.model import Network
from ovsdriver.ports import EngineSubnet, EngineView
from tests.builders import a_network, a_subnet, an_endpoint

PRINTER = IPAddress("10.1.0.40")


@pytest.fixture
def network() -> Network:
    """One that keeps an address without an endpoint."""
    return a_network(subnets=(replace(a_subnet(pool="p"), auxiliary=(PRINTER,)), a_subnet()))


def a_lease(address: IPAddress) -> Lease:
    """As it is in the store: RequestAddress said nothing of its kind."""
    asked = {"kind": LeaseKind.ENDPOINT, "wanted": True, "name": ""}
    return Lease(pool=PoolId("p"), address=address, serial=7, created=1.0, **asked)


def test_an_auxiliary_address_is_kept_for_its_network(network: Network) -> None:
    kept = reports.auxiliary(network, None, None)
    use = reports.lease_use(a_lease(PRINTER), None, None, kept=kept)
    assert (use.lease.kind, use.auxiliary) == ("endpoint", True)
    assert reports.holder(use) == "--aux-address"
    said = reports.refusal(use, network, None, age_s=1e6)
    assert said is not None
    assert "10.1.0.40 is kept for network" in said
    assert "`docker network rm` releases it with its network" in said


def test_a_lease_of_another_host_says_which() -> None:
    there = a_lease(IPAddress("10.1.0.41"))._replace(name="web", host="rack2")
    use = reports.lease_use(there, None, None)
    assert reports.holder(use) == "container web on host rack2"


def test_docker_knows_what_an_auxiliary_address_is_called(network: Network) -> None:
    listed = EngineSubnet(
        network=network.id,
        cidr=IPNetwork("10.1.0.0/24"),
        ipam="ovsipam",
        kept={IPAddress("10.1.0.1"): "", PRINTER: "printer"},
    )
    view = EngineView(id="ENGINE", version="26", networks={}, endpoints={}, subnets=(listed,))
    kept = reports.auxiliary(network, None, view)
    assert kept == {PRINTER: "printer"}
    use = reports.lease_use(a_lease(PRINTER), None, view, kept=kept)
    assert use.auxiliary_name == "printer"
    assert reports.holder(use) == "--aux-address printer"


def test_an_address_that_no_endpoint_has_any_more_is_not_kept(network: Network) -> None:
    kept = reports.auxiliary(network, None, None)
    use = reports.lease_use(a_lease(IPAddress("10.1.0.41")), None, None, kept=kept)
    assert not use.auxiliary
    assert reports.holder(use) == "nobody that is known here"
    assert reports.refusal(use, network, None, age_s=1e6) is None


def test_an_address_that_an_endpoint_has_is_the_endpoint_s(network: Network) -> None:
    kept = reports.auxiliary(network, None, None)
    use = reports.lease_use(a_lease(PRINTER), an_endpoint(), None, kept=kept)
    assert not use.auxiliary


def test_a_pool_without_a_network_keeps_nothing() -> None:
    assert reports.auxiliary(None, None, None) == {}
