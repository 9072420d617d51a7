"""What engine 29 asks of a plugin and the bed's own does not: see ``modern.py``."""

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, WAN4, WAN6, Bed
from tests.e2e.modern import ENDS, ModernEngine
from tests.e2e.test_published import hears
from tests.e2e.traffic import Place

pytestmark = pytest.mark.docker

OTHER6 = "fd00:77:2::/64"


def test_a_container_may_leave_by_one_network_for_each_family(
    bed: Bed, engine: ModernEngine, host: Place, outside: Place
) -> None:
    """Docker asks two endpoints of one container to publish, one of them twice."""
    four = engine.network("10.77.1.0/24")
    both = engine.network("10.77.2.0/24", OTHER6)
    ann = engine.container("ann", ports=("8080:80", "5353:80/udp"))
    by4, by6 = ann.connect(four), ann.connect(both)
    ann.leave_by(by4, 4, other6=True)
    ann.leave_by(by6, 6)
    ann.program(by6)
    ann.program(by4, other6=True)
    for address, seen, gateway in (
        (WAN4, OUTSIDE4, four.gateway(4)),
        (WAN6, OUTSIDE6, both.gateway(6)),
    ):
        hears(outside, f"ann {seen}", "tcp", address, 8080)
        hears(outside, f"ann {seen}", "udp", address, 5353)
        loopback = "127.0.0.1" if seen == OUTSIDE4 else "::1"
        hears(host, f"ann {gateway}", "tcp", loopback, 8080)
    assert bed.ovsnet("ports").count(":8080/tcp") == 2, "one of each family"
    ann.end([by4])
    assert not outside.hears("tcp", WAN4, 8080)
    hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8080)
    ann.leave_by(by6, 4, 6)
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    hears(outside, f"ann {OUTSIDE6}", "tcp", WAN6, 8080)


@pytest.mark.parametrize("call", ENDS)
def test_each_call_that_ends_an_endpoint_takes_its_ports_back(
    engine: ModernEngine, outside: Place, call: str
) -> None:
    """After a restart with live-restore there is no Revoke; after crashes there may be any one."""
    network = engine.network("10.77.1.0/24", "fd00:77:1::/64")
    ann = engine.container("ann", ports=("8080:80", "9899:9899/sctp"))
    endpoint = ann.connect(network)
    ann.leave_by(endpoint, 4, 6)
    hears(outside, f"ann {OUTSIDE4}", "tcp", WAN4, 8080)
    ann.tell_end(endpoint, call)
    for address in (WAN4, WAN6):
        assert not outside.hears("tcp", address, 8080)
    engine.container("bob", network, ports=("8080:80", "9899:9899/sctp"))
    hears(outside, f"bob {OUTSIDE6}", "tcp", WAN6, 8080)
