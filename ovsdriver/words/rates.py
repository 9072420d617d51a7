"""Text into rates, sizes, delays, losses and marks. As ``values``."""

import re

from ovsdriver.domain.records.options.port_options import UNMARKED, Rate
from ovsdriver.words import values

_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)"
_RATE = re.compile(_NUMBER + r"(kbit|mbit|gbit)")
_SIZE = re.compile(_NUMBER + r"(b|kb|mb)?")
_TIME = re.compile(_NUMBER + r"(us|ms|s)")
_LOSS = re.compile(_NUMBER + "%?")
_SEPARATORS = re.compile(r"[,;+/]")

_BITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
_BYTES = {None: 1, "b": 1, "kb": 1024, "mb": 1024 * 1024}
_MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6}

_LEAST_RATE, _MOST_RATE = 64_000, 100_000_000_000
_MOST_BURST = 256 * 1024 * 1024
_MOST_DELAY_US = 60_000_000


_MARKS = {
    "none": UNMARKED,
    **{f"cs{each}": 8 * each for each in range(8)},
    **{f"af{high}{low}": 8 * high + 2 * low for high in range(1, 5) for low in range(1, 4)},
    "ef": 46,
    "va": 44,
    "le": 1,
}
"""Names of DSCPs (RFC 2474, 2597, 3246, 5865, 8622)."""


def dscp(text: str) -> int:
    """Read ``46``, ``ef``, ``af41`` or ``cs1``, of 0 to 63; or ``none``."""
    found = _MARKS.get(text.lower())
    if found is not None:
        return found
    try:
        return values.integer(text, 0, 63, "a DSCP")
    except ValueError as error:
        raise ValueError(f"{error}, or a name like ef, af41, cs1; or none") from None


def dscp_text(mark: int) -> str:
    """Return what ``dscp`` reads, the name if it has one."""
    return next((name for name, each in _MARKS.items() if each == mark), str(mark))


def bits(text: str) -> int:
    """Read ``100mbit``; ``none`` is 0, no limit."""
    return _rate(text, text, "write it like 100mbit") or 0


def rate(text: str) -> Rate:
    """Read ``100mbit``, or ``100mbit+20mbit``: towards the container and from it; or ``none``."""
    parts = [_rate(part.strip(), text, _RATES) for part in _SEPARATORS.split(text)]
    if len(parts) > 2:
        raise ValueError(f"{values.quote(text)} has more than two rates; {_RATES}")
    return Rate(towards=parts[0], away=parts[-1])


_RATES = "write it like 100mbit, or 100mbit+20mbit: towards the container and from it"


def _rate(part: str, text: str, how: str) -> int | None:
    if part.lower() == "none":
        return None
    found = _RATE.fullmatch(part.lower())
    bits = int(float(found[1]) * _BITS[found[2]]) if found else 0
    if not _LEAST_RATE <= bits <= _MOST_RATE:
        raise ValueError(f"{values.quote(text)} is not a rate of 64kbit to 100gbit; {how}")
    return bits


def burst(text: str) -> int:
    """Read a number of bytes: ``65536``, ``64kb`` or ``1mb``, of 1024 each."""
    found = _SIZE.fullmatch(text.lower())
    size = int(float(found[1]) * _BYTES[found[2]]) if found else 0
    if not 1 <= size <= _MOST_BURST:
        raise ValueError(f"{values.quote(text)} is not a size of 1b to 256mb; write it like 64kb")
    return size


def burst_text(size: int) -> str:
    """Return what :func:`burst` reads, in the largest unit that is exact."""
    for word in ("mb", "kb"):
        if size % _BYTES[word] == 0:
            return f"{size // _BYTES[word]}{word}"
    return f"{size}b"


def broadcast(text: str) -> int:
    """Read packets/s; ``none`` is 0, no limit."""
    if text.lower() == "none":
        return 0
    return values.integer(text, 1, 1_000_000, "a number of packets a second")


def time_us(text: str) -> int:
    """Read ``20ms``, ``1.5s`` or ``200us``, at most a minute; in microseconds."""
    found = _TIME.fullmatch(text.lower())
    microseconds = float(found[1]) * _MICROSECONDS[found[2]] if found else -1.0
    if text == "0":
        return 0
    if not 0 <= microseconds <= _MOST_DELAY_US:
        raise ValueError(
            f"{values.quote(text)} is not a time of at most 60s; write it like 20ms or 1.5s"
        )
    return int(microseconds)


def share_ppm(text: str) -> int:
    """Read a part of all packets, ``1%`` or ``0.5``, in percent; returned as parts of a million."""
    found = _LOSS.fullmatch(text)
    percent = float(found[1]) if found else -1.0
    if not 0 <= percent <= 100:
        raise ValueError(f"{values.quote(text)} is not 0 to 100 percent; write it like 1%")
    return round(percent * 10_000)


def broadcast_text(packets: int) -> str:
    """Return what ``broadcast`` reads."""
    return str(packets or "none")


def rate_text(value: Rate) -> str:
    """Return what ``rate`` reads."""
    towards, away = (bits_text(each) for each in (value.towards, value.away))
    return towards if towards == away else f"{towards}+{away}"


def bits_text(value: int | None) -> str:
    """Return what ``bits`` reads."""
    if not value:
        return "none"
    unit = next((u for u in ("gbit", "mbit") if not value % _BITS[u]), "kbit")
    return f"{value / _BITS[unit]:g}{unit}"


def time_text(microseconds: int) -> str:
    """Return what ``time_us`` reads."""
    unit = next((u for u in ("s", "ms") if not microseconds % _MICROSECONDS[u]), "us")
    return f"{microseconds / _MICROSECONDS[unit]:g}{unit}"


def share_text(ppm: int) -> str:
    """Return what ``share_ppm`` reads."""
    return f"{ppm / 10_000:g}%"
