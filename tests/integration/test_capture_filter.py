"""Which frames a capture with a filter has; libpcap compiles it and the kernel applies it."""

import io
import socket
import threading
from collections.abc import Iterator

import pytest

from ovsdriver.adapters.capture import Capture, Source
from ovsdriver.errors import InvalidRequestError
from tests.integration.netns import Sandbox, own_namespace

pytestmark = pytest.mark.netns


@pytest.fixture
def netns() -> Iterator[Sandbox]:
    with own_namespace() as here:
        yield here


def heard(only: str) -> bytes:
    """Return what is captured on the loopback, of packets to two ports, the last a stop."""
    file = io.BytesIO()
    capture = Capture([Source(link="lo")], only=only)
    to = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for each in to:
        each.bind(("127.0.0.1", 0))
    try:
        sender = to[0]
        wanted, other = (each.getsockname()[1] for each in to)
        for port, said in ((other, b"unheard"), (wanted, b"heard"), (other, b"unheard")):
            sender.sendto(said, ("127.0.0.1", port))
        ended = threading.Event()
        threading.Timer(1.0, ended.set).start()
        capture.run(file, most=None, until=ended.is_set)
    finally:
        capture.close()
        for each in to:
            each.close()
    return file.getvalue()


def test_without_a_filter_everything_is_heard(netns: Sandbox):
    assert b"unheard" in heard("")


def test_a_filter_leaves_out_what_it_does_not_mean(netns: Sandbox):
    found = heard("udp and udp[8:4] = 0x68656172")  # the text "hear"
    assert b"heard" in found
    assert b"unheard" not in found


@pytest.mark.parametrize("only", ["prot 80", "port", "port 99999", ")", "host nowhere.invalid"])
def test_a_filter_that_makes_no_sense_is_refused(netns: Sandbox, only: str):
    with pytest.raises(InvalidRequestError, match="is not understood"):
        Capture([Source(link="lo")], only=only)
