"""Whose turn it is among several servers, and what they say of themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ovsdriver.adapters.ovsdb import Address, Certificates, ConnectionLostError, Servers
from ovsdriver.adapters.ovsdb.wire.cluster import Leadership, Turns
from ovsdriver.errors import ConfigurationError

ADDRESSES = [Address.parse(f"tcp:10.0.0.{number}:6641") for number in (1, 2, 3)]


def failures(turns: Turns, count: int) -> list[float]:
    return [turns.pass_on("refused", served=False) for _ in range(count)]


def test_all_are_tried_before_a_pause() -> None:
    turns = Turns(ADDRESSES)
    asked = []
    for _ in range(3):
        asked.append(turns.now)
        turns.pass_on("refused", served=False)

    assert sorted(each.text for each in asked) == [each.text for each in ADDRESSES]
    assert turns.now == asked[0]


def test_pauses_grow_and_stay_short() -> None:
    pauses = [pause for pause in failures(Turns(ADDRESSES), 60) if pause]

    assert len(pauses) == 20
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.1, 1.0)


def test_one_server_is_asked_after_each_pause() -> None:
    assert failures(Turns(ADDRESSES[:1]), 6) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_after_one_that_had_us_the_pauses_begin_again() -> None:
    turns = Turns(ADDRESSES)
    failures(turns, 30)
    before = turns.now

    assert turns.pass_on("it does not lead its cluster", served=True) == 0.1
    assert turns.now != before
    assert [pause for pause in failures(turns, 3) if pause] == [pytest.approx(0.15)]


def test_of_several_servers_each_has_its_own_reason() -> None:
    turns = Turns(ADDRESSES)
    turns.pass_on("refused", served=False)

    assert turns.why.count("refused") == 1
    assert all(each.text in turns.why for each in ADDRESSES)


def row(**said: Any) -> Mapping[str, Any]:
    return {"Database": {"u1": {"new": {"name": "OVN_Northbound", **said}}}}


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({}, "it has no database OVN_Northbound"),
        (row(connected=False, leader=True), "it has no contact to its cluster"),
        (row(connected=True, leader=False), "it does not lead its cluster"),
        ({"Database": {"u1": {"old": {}}}}, "it has no database OVN_Northbound"),
    ],
)
def test_a_server_that_does_not_lead_is_told_from_one_that_does(
    said: Mapping[str, Any], sentence: str
) -> None:
    leadership = Leadership("OVN_Northbound")
    leadership.take(row(connected=True, leader=True))
    leadership.take({})
    if not said:
        leadership = Leadership("OVN_Northbound")

    with pytest.raises(ConnectionLostError, match=sentence):
        leadership.take(said)


def test_encrypted_servers_need_certificates() -> None:
    with pytest.raises(ConfigurationError, match="needs a private key"):
        Servers.parse(["tcp:10.0.0.1:6641", "ssl:10.0.0.1:6641"])


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no PEM")
    files = Certificates(
        private_key=tmp_path / "key", certificate=tmp_path / "pem", ca=tmp_path / "ca.pem"
    )

    with pytest.raises(ConnectionLostError, match=r"ca\.pem is of no use: no certificate"):
        files.context()
