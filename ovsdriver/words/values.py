"""Text into values, for everything that a person or Docker writes.

Every parser here is pure and raises ``ValueError`` with one sentence that quotes the text, says
what is wrong with it and what to write instead; the caller puts the place in front of it.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import TypeVar

from netaddr import (
    EUI,
    INET_PTON,
    AddrFormatError,
    IPAddress,
    IPNetwork,
    IPRange,
    mac_unix_expanded,
)

from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.options.port_options import VlanTag

T = TypeVar("T")

_SHOWN = 80
_LINK = re.compile(r"[\w.+][\w.+-]*")
_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}")
_SPACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SEGMENT = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LABEL = _SPACE
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,11}")
_PREFIXED = re.compile(r"([^/]+)/([0-9]{1,3})")
_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d)?")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SEPARATORS = re.compile(r"[,;+]")
_DIGITS = re.compile(r"[0-9]{1,9}")

NO_VLAN = VlanTag(0)

LINK_NAME_BYTES = 15
"""IFNAMSIZ is 16 with the closing NUL (netdevice(7))."""

TRUE_AND_FALSE: Mapping[str, bool] = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def quote(text: str) -> str:
    """Return ``text`` in quotes for an error: on one line, printable, cut where it is long."""
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return '"' + printable("".join(f"\\{each}" if each in '"\\' else each for each in shown)) + '"'


def printable(text: str) -> str:
    """Return ``text`` as one line that a terminal shows as it is, whoever's words are in it.

    What would end the line, move the cursor, or hide or turn text is written as an escape.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean `x`?`` for the name of ``known`` that is nearest, or nothing."""
    names = sorted(known, key=lambda name: (len(name), name))  # our names before their aliases
    bare = [name for name in names if name.rpartition(".")[2] == word]
    close = bare or difflib.get_close_matches(word, names, n=1)
    return f"; did you mean `{close[0]}`?" if close else ""


def text(value: object) -> str:
    """Return a value as its parser reads it: a list with commas, words in small letters."""
    match value:
        case bool():
            return str(value).lower()
        case Enum():
            return str(value.value)
        case EUI():
            return mac_text(value)
        case tuple():
            return ",".join(map(text, value))
    return str(value)


def address(text: str) -> IPAddress:
    """Read ``10.0.0.5`` or ``fd00::5``."""
    if "/" in text:
        raise ValueError(f"{quote(text)} has a prefix length; write the address alone")
    try:
        return IPAddress(text, flags=INET_PTON)
    except (AddrFormatError, ValueError) as error:
        raise ValueError(
            f"{quote(text)} is not an address; write it like 10.0.0.5 or fd00::5"
        ) from error


def interface(text: str) -> IPNetwork:
    """Read an address with its prefix length, ``10.0.0.5/24``; host bits are kept."""
    return _prefixed(text, "an address with a prefix length", "10.0.0.5/24")


def subnet(text: str) -> IPNetwork:
    """Read a subnet, ``10.0.0.0/24``; host bits are kept, for whoever refuses them."""
    return _prefixed(text, "a subnet", "10.0.0.0/24")


def _prefixed(text: str, what: str, example: str) -> IPNetwork:
    # netaddr alone would read a missing length as /32, and masks in the place of lengths.
    parts = _PREFIXED.fullmatch(text)
    try:
        ip = IPAddress(parts[1] if parts else "", flags=INET_PTON)
        return IPNetwork((int(ip), int(parts[2] if parts else "")), version=ip.version)
    except (AddrFormatError, ValueError) as error:
        raise ValueError(f"{quote(text)} is not {what}; write it like {example}") from error


def addresses(text: str) -> IPRange:
    """Read ``10.0.0.5``, ``10.0.0.5-10.0.0.9`` or ``10.0.0.8/29``, whose host bits are refused."""
    if "/" in text:
        found = subnet(text)
        if found.value != found.first:
            raise ValueError(f"{quote(text)} has host bits; write {found.cidr}")
        return IPRange(IPAddress(found.first, found.version), IPAddress(found.last, found.version))
    first_text, dash, last_text = text.partition("-")
    first = address(first_text.strip())
    last = address(last_text.strip()) if dash else first
    if first.version != last.version or first > last:
        raise ValueError(f"{quote(text)} is not a range; write it like 10.0.0.5-10.0.0.9")
    return IPRange(first, last)


def duration_s(text: str, most_s: int, what: str) -> float:
    """Read ``30``, ``30s``, ``5m``, ``2h`` or ``1d``, at most ``most_s`` seconds."""
    parts = _DURATION.fullmatch(text.lower())
    seconds = int(parts[1]) * _UNITS_S[parts[2] or "s"] if parts else -1
    if not 0 <= seconds <= most_s:
        raise ValueError(f"{quote(text)} is not {what}; write it like 30s, 5m or 2h")
    return float(seconds)


def mac(text: str) -> EUI:
    """Read ``02:00:00:00:00:05``; only an address that one interface can have."""
    if not _MAC.fullmatch(text):
        raise ValueError(f"{quote(text)} is not a MAC address; write it like 02:00:00:00:00:05")
    return unicast(int(text.replace(":", "").replace("-", ""), 16))


def unicast(value: int) -> EUI:
    """Return the MAC with that number, unless no single interface may have it."""
    made = EUI(value, version=48, dialect=mac_unix_expanded)
    # IEEE 802: the lowest bit of the first byte marks a group of receivers.
    if value == 0 or value >> 40 & 1:
        raise ValueError(
            f'"{made}" is not the address of one interface; use one that begins with 02'
        )
    return made


def integer(text: str, least: int, most: int, what: str) -> int:
    """Read a decimal number between ``least`` and ``most``; ``what`` names it in the error."""
    value = int(text) if _DIGITS.fullmatch(text) else None
    if value is None or not least <= value <= most:
        raise ValueError(f"{quote(text)} is not {what}: {least} to {most}")
    return value


def word(text: str, words: Mapping[str, T]) -> T:
    """Read one word of a fixed set, without regard to case."""
    for each, value in words.items():
        if each.lower() == text.lower():
            return value
    known = ", ".join(f"`{each}`" for each in words)
    raise ValueError(f"{quote(text)} is none of {known}")


def flag(text: str) -> bool:
    """Read ``true`` or ``false``."""
    try:
        return word(text, TRUE_AND_FALSE)
    except ValueError:
        raise ValueError(f"{quote(text)} is neither `true` nor `false`") from None


def vlan(text: str) -> VlanTag:
    """Read a VLAN id, 1 to 4094, or ``none``, which is tag 0: untagged frames only.

    0 and 4095 are no VLAN ids (IEEE 802.1Q-2018, table 9-2).
    """
    if text.lower() == "none":
        return NO_VLAN
    try:
        return VlanTag(integer(text, 1, 4094, "a VLAN id"))
    except ValueError as error:
        raise ValueError(f"{error}, or `none` for a segment without a tag") from None


def vlan_text(tag: VlanTag) -> str:
    """Return what ``vlan`` reads."""
    return str(tag or "none")


def vlans(text: str) -> tuple[VlanTag, ...]:
    """Read VLAN ids and ranges, ``10,20-30``, ascending and each once.

    ``+`` and ``;`` separate as well: in ``docker run --network name=…,driver-opt=…`` a comma ends
    the option, unless all of it is quoted twice.
    """
    found: set[VlanTag] = set()
    for part in _SEPARATORS.split(text):
        first_text, dash, last_text = part.strip().partition("-")
        try:
            first = integer(first_text.strip(), 1, 4094, "a VLAN id")
            last = integer(last_text.strip(), 1, 4094, "a VLAN id") if dash else first
        except ValueError as error:
            raise ValueError(f"{quote(text)}: {error}; write it like 10+20-30") from None
        if first > last:
            raise ValueError(f"{quote(text)}: {first}-{last} is not a range; write {last}-{first}")
        found.update(map(VlanTag, range(first, last + 1)))
    return tuple(sorted(found))


def mtu(text: str) -> int:
    """Read an MTU in bytes: 68 (RFC 791) to 65535. IPv6 asks for 1280, which is not known here."""
    return integer(text, 68, 65535, "an MTU in bytes")


def link_name(text: str, *, what: str = "a bridge") -> str:
    """Read the name of ``what``: of those that the kernel takes, what needs no quotes in a shell.

    We name links in what we tell people to type.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > LINK_NAME_BYTES:
        raise ValueError(f"{quote(text)} has {size} bytes; {what}'s name has at most 15")
    # The kernel refuses `.`, `..`, `/`, `:` and spaces (net/core/dev.c, dev_valid_name).
    if text in {".", ".."} or not _LINK.fullmatch(text):
        raise ValueError(
            f"{quote(text)} cannot be {what}'s name; use letters, digits, `-`, `_` and `.`"
        )
    return text


def nics(text: str) -> tuple[str, ...]:
    """Read ``eth1``, or several NICs as ``eth1+eth2`` or ``eth1,eth2``."""
    found = tuple(link_name(part.strip(), what="a NIC") for part in re.split(r"[+,]", text))
    if len(set(found)) < len(found):
        raise ValueError(f"{quote(text)} names a NIC twice; name each once")
    return found


def bridges(text: str) -> tuple[str, ...]:
    """Read ``br-core``, or several bridges as :func:`nics`."""
    found = tuple(link_name(part.strip()) for part in re.split(r"[+,]", text))
    if len(set(found)) < len(found):
        raise ValueError(f"{quote(text)} names a bridge twice; name each once")
    return found


def interface_prefix(text: str) -> str:
    """Read the name of interfaces in containers, without the number that Docker appends."""
    if not _PREFIX.fullmatch(text):
        raise ValueError(
            f"{quote(text)} cannot begin an interface's name; use at most 12 letters, digits, "
            "`-` and `_`, a letter first: Docker appends a number, and 15 bytes is the most"
        )
    return text


def label(text: str) -> str:
    """Read a word that a person chose to call something by."""
    if not _LABEL.fullmatch(text):
        raise ValueError(
            f"{quote(text)} cannot be used here; use 1 to 63 letters, digits, `-`, `_` and `.`, a "
            "letter or digit first"
        )
    return text


def segment(text: str) -> str:
    """Read the name of a segment over several hosts, which can end a driver's name and a host's."""
    if not _SEGMENT.fullmatch(text):
        raise ValueError(
            f"{quote(text)} cannot name a segment; use 1 to 32 lower-case letters, digits and `-`, "
            "a letter or digit first"
        )
    return text


def space(text: str) -> str:
    """Read the name of an address space, which can also be the end of a driver's name."""
    if not _SPACE.fullmatch(text):
        raise ValueError(
            f"{quote(text)} cannot name an address space; use 1 to 63 letters, digits, `-`, `_` "
            "and `.`, a letter or digit first"
        )
    if text.endswith("-global"):
        raise ValueError(f'{quote(text)}: names that end in "-global" are kept for swarm')
    return text
