"""Questions and answers as bytes on the wire."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netaddr import IPAddress

from ovsdriver.adapters.kernel.sandbox.neighbours import ArpQuestion, NdQuestion

OWN = bytes.fromhex("0a0f0a010001")
THEIRS = bytes.fromhex("020000000007")
ROUTER = bytes.fromhex("020000000099")
Claim = tuple[IPAddress, bytes]

V4, OTHER_V4 = IPAddress("10.1.0.1"), IPAddress("10.1.0.2")
V6, OTHER_V6 = IPAddress("fd00:1::1"), IPAddress("fd00:1::2")


def arp(operation: int, sender: IPAddress, *, mac: bytes = THEIRS) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return b"".join((OWN, mac, b"\x08\x06", body, mac, sender.packed, OWN, bytes(4)))


def advertisement(
    target: IPAddress, *, kind: int = 136, hops: int = 255, header: int = 58, options: bytes = b""
) -> bytes:
    body = struct.pack("!BBHI16s", kind, 0, 0, 0x60000000, target.packed) + options
    ip = struct.pack("!IHBB16s16s", 6 << 28, len(body), header, hops, target.packed, bytes(16))
    return OWN + ROUTER + b"\x86\xdd" + ip + body


def packed(claim: Claim | None) -> tuple[bytes, bytes] | None:
    return None if claim is None else (claim[0].packed, claim[1])


LINK_ADDRESS = b"\x02\x01" + THEIRS


def test_a_probe_names_no_sender_and_goes_to_all() -> None:
    frame = ArpQuestion().ask(OWN, V4)

    assert frame[:14] == b"\xff" * 6 + OWN + b"\x08\x06"
    assert frame[14:] == bytes.fromhex("0001080006040001") + OWN + bytes(10) + V4.packed


def test_a_solicitation_names_no_sender_and_goes_to_the_targets_group() -> None:
    frame = NdQuestion().ask(OWN, IPAddress("fd00:1::12:3456"))

    assert frame[:14] == bytes.fromhex("3333ff123456") + OWN + b"\x86\xdd"
    assert frame[22:38] == bytes(16)
    assert frame[38:54] == IPAddress("ff02::1:ff12:3456").packed
    assert frame[21] == 255
    assert frame[62:] == IPAddress("fd00:1::12:3456").packed


def test_a_solicitations_checksum_is_right() -> None:
    """With its pseudo header the words of a right one add up to all ones (RFC 1071)."""
    frame = NdQuestion().ask(OWN, V6)

    covered = frame[22:54] + struct.pack("!II", 24, 58) + frame[54:]
    total = sum(struct.unpack(f"!{len(covered) // 2}H", covered))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    assert total == 0xFFFF


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        pytest.param(arp(2, V4), (V4, THEIRS), id="answer"),
        pytest.param(arp(1, V4), (V4, THEIRS), id="announcement"),
        pytest.param(arp(2, OTHER_V4), (OTHER_V4, THEIRS), id="of another address"),
        pytest.param(arp(2, V4)[:41], None, id="cut short"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_what_tells_an_ipv4_neighbour(frame: bytes, found: Claim | None) -> None:
    assert ArpQuestion().claim(frame) == packed(found)


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        pytest.param(advertisement(V6, options=LINK_ADDRESS), (V6, THEIRS), id="answer"),
        pytest.param(advertisement(V6), (V6, ROUTER), id="without option: the frame's sender"),
        pytest.param(
            advertisement(V6, options=b"\x0e\x01" + bytes(6) + LINK_ADDRESS),
            (V6, THEIRS),
            id="after another option",
        ),
        pytest.param(
            advertisement(V6, options=b"\x02\x00" + THEIRS), (V6, ROUTER), id="empty option"
        ),
        pytest.param(
            advertisement(OTHER_V6, options=LINK_ADDRESS), (OTHER_V6, THEIRS), id="another address"
        ),
        pytest.param(advertisement(V6, kind=135), None, id="solicitation"),
        pytest.param(advertisement(V6, hops=64), None, id="came through a router"),
        pytest.param(advertisement(V6, header=17), None, id="no ICMPv6"),
        pytest.param(advertisement(V6)[:70], None, id="cut short"),
    ],
)
def test_what_tells_an_ipv6_neighbour(frame: bytes, found: Claim | None) -> None:
    assert NdQuestion().claim(frame) == packed(found)


@given(st.binary(max_size=120))
def test_no_frame_of_anybodys_breaks_the_reader(frame: bytes) -> None:
    for question, octets in ((ArpQuestion(), 4), (NdQuestion(), 16)):
        found = question.claim(frame)
        assert found is None or [len(each) for each in found] == [octets, 6]
