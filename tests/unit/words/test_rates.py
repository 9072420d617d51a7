"""Rates, sizes, times and losses as people type them."""

from collections.abc import Callable

import pytest

from ovsdriver.domain.records.options.port_options import Rate
from ovsdriver.words import rates


@pytest.mark.parametrize(
    ("text", "towards", "away"),
    [
        ("100mbit", 100_000_000, 100_000_000),
        ("100Mbit+20mbit", 100_000_000, 20_000_000),
        ("1.5gbit,64kbit", 1_500_000_000, 64_000),
        ("none+1mbit", None, 1_000_000),
        ("1mbit/none", 1_000_000, None),
    ],
)
def test_a_rate_is_of_both_ways_or_of_each(
    text: str, towards: int | None, away: int | None
) -> None:
    found = rates.rate(text)
    assert found == Rate(towards=towards, away=away)
    assert rates.rate(rates.rate_text(found)) == found


@pytest.mark.parametrize(("text", "size"), [("1500", 1500), ("64kb", 65536), ("1mb", 1 << 20)])
def test_a_size_is_in_bytes(text: str, size: int) -> None:
    assert rates.burst(text) == size
    assert rates.burst(rates.burst_text(size)) == size


@pytest.mark.parametrize(("size", "text"), [(1500, "1500b"), (65536, "64kb"), (1 << 20, "1mb")])
def test_a_size_is_shown_with_its_unit(size: int, text: str) -> None:
    assert rates.burst_text(size) == text


@pytest.mark.parametrize(
    ("text", "microseconds"), [("20ms", 20_000), ("1.5s", 1_500_000), ("250us", 250), ("0", 0)]
)
def test_a_time_has_a_unit(text: str, microseconds: int) -> None:
    assert rates.time_us(text) == microseconds
    assert rates.time_us(rates.time_text(microseconds)) == microseconds


@pytest.mark.parametrize(("text", "ppm"), [("1%", 10_000), ("0.5", 5_000), ("100%", 1_000_000)])
def test_a_loss_is_in_percent(text: str, ppm: int) -> None:
    assert rates.share_ppm(text) == ppm
    assert rates.share_ppm(rates.share_text(ppm)) == ppm


def test_the_rate_of_a_line_is_one_rate() -> None:
    for text, value in (("none", 0), ("64kbit", 64_000), ("2.5GBIT", 2_500_000_000)):
        assert rates.bits(text) == value
        assert rates.bits(rates.bits_text(value)) == value


def test_no_limit_of_broadcasts_can_be_said() -> None:
    assert (rates.broadcast("none"), rates.broadcast("100")) == (0, 100)


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [
        (rates.rate, "100", "100mbit"),
        (rates.rate, "1kbit", "64kbit to 100gbit"),
        (rates.rate, "1mbit+2mbit+3mbit", "more than two rates"),
        (rates.burst, "0", "64kb"),
        (rates.burst, "1gb", "256mb"),
        (rates.time_us, "20", "20ms"),
        (rates.time_us, "61s", "at most 60s"),
        (rates.share_ppm, "101", "0 to 100 percent"),
        (rates.share_ppm, "much", "1%"),
        (rates.broadcast, "0", "packets a second"),
        (rates.bits, "1mbit+2mbit", "100mbit"),
    ],
)
def test_what_is_none_is_refused_with_what_to_type(
    parse: Callable[[str], object], text: str, hint: str
) -> None:
    with pytest.raises(ValueError, match=hint):
        parse(text)
