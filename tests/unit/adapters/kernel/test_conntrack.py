"""Which connections go by a published port."""

import pytest
from netaddr import IPAddress

from ovsdriver.adapters.kernel.codec.conntrack import Flow, leads
from ovsdriver.domain.records.model import Publication, Transport

LOCAL = {IPAddress("192.0.2.1")}


def published(host: str = "0.0.0.0") -> Publication:
    return Publication(
        protocol=Transport.UDP,
        host=IPAddress(host),
        host_port=53,
        address=IPAddress("10.1.0.2"),
        port=5353,
    )


def flow(destination: str, answering: tuple[str, int], *, protocol: int = 17) -> Flow:
    return Flow(
        protocol=protocol,
        destination=IPAddress(destination),
        port=53,
        answering=IPAddress(answering[0]),
        answering_port=answering[1],
    )


CONTAINER = ("10.1.0.2", 5353)


@pytest.mark.parametrize(
    ("seen", "host", "result"),
    [
        pytest.param(flow("192.0.2.1", CONTAINER), "0.0.0.0", True, id="translated"),
        pytest.param(flow("192.0.2.1", CONTAINER), "192.0.2.1", True, id="of-that-address"),
        pytest.param(flow("192.0.2.9", CONTAINER), "192.0.2.1", False, id="of-another-address"),
        pytest.param(flow("192.0.2.1", ("10.1.0.3", 5353)), "0.0.0.0", False, id="another-target"),
        pytest.param(flow("192.0.2.1", CONTAINER, protocol=6), "0.0.0.0", False, id="protocol"),
        pytest.param(flow("192.0.2.1", ("192.0.2.1", 53)), "0.0.0.0", True, id="not-yet"),
        pytest.param(flow("192.0.2.1", ("192.0.2.1", 53)), "192.0.2.1", True, id="not-yet-there"),
        pytest.param(flow("127.0.0.1", ("127.0.0.1", 53)), "0.0.0.0", True, id="loopback"),
        # a container's own question to a name server outside
        pytest.param(flow("198.51.100.1", ("198.51.100.1", 53)), "0.0.0.0", False, id="elsewhere"),
        pytest.param(flow("192.0.2.1", ("192.0.2.1", 53)), "127.0.0.1", False, id="other-address"),
    ],
)
def test_a_connection_belongs_to_a_port_by_where_it_went_or_would_have_gone(
    seen: Flow, host: str, result: bool
) -> None:
    assert leads(seen, published(host), LOCAL) is result
