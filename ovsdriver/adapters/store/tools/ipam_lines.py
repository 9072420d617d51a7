"""Pools and leases as lines of JSON: what each line may say.

A header; then each pool, followed by its leases by address and what is remembered of its free
addresses, the oldest first; then reservations; then an end with how many there were of each, by
which a file that was cut is known. Every line is an object whose ``type`` says what it is.

Reading is strict, because who imports wants all of it: a member that is missing, or one that this
program does not know, is an error.
"""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn

from netaddr import AddrFormatError, IPAddress, IPNetwork, IPRange

from ipam import IpamError, LeaseKind, Pool, PoolId, PoolRequest, Reservation, checks
from ovsdriver.adapters.store.tools.inspection import EPOCHS, SERIAL_BITS
from ovsdriver.codec import range_text
from ovsdriver.errors import InvalidRequestError

FORMAT = "ovsnet-ipam"
VERSION = 1
"""Raised when a line gets another meaning; older ones are then read too."""

LONGEST = 64 << 10
"""Bytes of a line. The longest that is written is a pool with 64 exclusions: 6 KiB."""

LATEST_S = 253_402_300_799.0
"""The last second that can be shown as a date, of the year 9999."""

_TEXT, _FLAG, _NUMBER, _SECONDS = (str,), (bool,), (int,), (float, int)

MEMBERS: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    FORMAT: {"version": _NUMBER, "epoch": _NUMBER, "exported": _SECONDS, "program": _TEXT},
    "pool": {
        "id": _TEXT,
        "space": _TEXT,
        "subnet": _TEXT,
        "range": (str, type(None)),
        "automatic": _FLAG,
        "exclude": (list,),
        "quarantine": _SECONDS,
        "limit": (int, type(None)),
        "probe": _FLAG,
        "created": _SECONDS,
    },
    "lease": {
        "pool": _TEXT,
        "address": _TEXT,
        "kind": _TEXT,
        "wanted": _FLAG,
        "name": _TEXT,
        "serial": _NUMBER,
        "created": _SECONDS,
    },
    "memory": {
        "pool": _TEXT,
        "address": _TEXT,
        "name": _TEXT,
        "wanted": _FLAG,
        "since": _SECONDS,
    },
    "reservation": {
        "space": _TEXT,
        "address": _TEXT,
        "name": _TEXT,
        "note": _TEXT,
        "created": _SECONDS,
    },
    "end": {"pools": _NUMBER, "leases": _NUMBER, "memories": _NUMBER, "reservations": _NUMBER},
}
"""By ``type``: every member but that one, and what it may be."""

_KINDS = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
_FAMILIES = {4: (socket.AF_INET, 4), 6: (socket.AF_INET6, 16)}
_POOL_ID = re.compile(r"[!-~]{1,64}")
_ID_EPOCH = re.compile(r"/([0-9]{1,18})\.[0-9]+$")


class LineError(InvalidRequestError):
    """A line makes no sense; which one is added by who knows it."""


def address_text(value: int, family: int) -> str:
    """Return an address as text, many times faster than netaddr does."""
    kind, size = _FAMILIES[family]
    return socket.inet_ntop(kind, value.to_bytes(size, "big"))


def address_value(text: str, family: int) -> int:
    """Read an address of a family; LineError if it is none."""
    try:
        return int.from_bytes(socket.inet_pton(_FAMILIES[family][0], text), "big")
    except (OSError, ValueError):
        raise LineError(f"{shown(text)} is not an IPv{family} address") from None


def shown(value: object) -> str:
    """Return a value for an error: on one line and not too long."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


class Lines:
    """The lines of a file, one by one, and the number of the one that was read last."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        while raw := self._file.readline(LONGEST + 1):
            self.number += 1
            if len(raw) > LONGEST:
                raise LineError(f"it is longer than {LONGEST >> 10} KiB, which none is")
            yield _object(raw)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        line = _DECODER.decode(raw.decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        cut = "" if raw.endswith(b"\n") else "; the file seems to be cut"
        raise LineError(f"it is not JSON{cut}") from error
    except ValueError as error:  # NaN, or more digits than an integer may have
        raise LineError(f"it is not usable: {error}") from error
    if not isinstance(line, dict):
        raise LineError(f"it is {_KINDS[type(line)]}, not an object")
    members = MEMBERS.get(line.get("type", "")) if isinstance(line.get("type"), str) else None
    if members is None:
        raise LineError(f"type {shown(line.get('type'))} is not known; is it of a newer ovsnet?")
    _check_members(line, members)
    return line


def _check_members(line: dict[str, Any], members: Mapping[str, tuple[type, ...]]) -> None:
    if line.keys() - members.keys() != {"type"} or len(line) != len(members) + 1:
        for name in members:
            if name not in line:
                raise LineError(f"{name} is missing")
        extra = min(line.keys() - members.keys() - {"type"})
        raise LineError(f"{shown(extra)} is not known; is it of a newer ovsnet?")
    for name, kinds in members.items():
        value = line[name]
        if type(value) not in kinds:
            expected = " or ".join(_KINDS[kind] for kind in kinds)
            raise LineError(f"{name} is {_KINDS[type(value)]}, not {expected}")
        if kinds is _SECONDS and not 0 <= value <= LATEST_S:
            raise LineError(f"{name} is {shown(value)}, which is no time in seconds")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def header(line: Mapping[str, Any]) -> int:
    """Return the epoch of the store that was exported; LineError if this is no header."""
    if line["type"] != FORMAT:
        raise LineError(f"it is no header of an export (type {FORMAT!r})")
    if line["version"] != VERSION:
        raise LineError(
            f"the export has version {shown(line['version'])}, this ovsnet reads {VERSION}; "
            "use the ovsnet that wrote it, or a newer one"
        )
    epoch: int = line["epoch"]
    if not 0 <= epoch < EPOCHS:
        raise LineError(f"epoch {shown(epoch)} is not between 0 and {EPOCHS - 1}")
    return epoch


def pool(line: Mapping[str, Any], epoch: int) -> Pool:
    """Return the pool of a line, of a store with that epoch; LineError if it makes no sense."""
    name = line["id"]
    if not _POOL_ID.fullmatch(name):
        raise LineError(f"id {shown(name)} is not 1 to 64 printable characters without blanks")
    later = _ID_EPOCH.search(name)
    if later and int(later[1]) > epoch:
        raise LineError(f"id {shown(name)} is of start {later[1]}, the export of start {epoch}")
    subnet = _network("subnet", line["subnet"])
    window = None if line["range"] is None else _network("range", line["range"])
    excluded = tuple(_range(each) for each in line["exclude"])
    try:
        checks.space(line["space"])
        request = PoolRequest(
            space=line["space"],
            subnet=subnet,
            window=window,
            family=int(subnet.version),
            excluded=excluded,
            quarantine_s=line["quarantine"],
            limit=line["limit"],
        )
        checks.subnet(request, subnet)
        checks.wishes(request)
        if window is not None:
            checks.window(subnet, window)
        return Pool(
            id=PoolId(name),
            space=line["space"],
            subnet=subnet,
            window=window,
            automatic=line["automatic"],
            excluded=checks.excluded(subnet, excluded),
            quarantine_s=float(line["quarantine"]),
            limit=_limit(line["limit"]),
            probe=line["probe"],
            created=float(line["created"]),
        )
    except IpamError as error:
        raise LineError(str(error)) from error


def _limit(value: int | None) -> int | None:
    if value is not None and value >= 1 << 63:
        raise LineError("limit is too large a number")
    return value


def _network(name: str, text: str) -> IPNetwork:
    try:
        network = IPNetwork(text)
    except (AddrFormatError, ValueError):
        network = None
    if network is None or str(network) != text:
        raise LineError(f"{name} {shown(text)} is not written as a subnet is, like 10.0.0.0/24")
    return network


def _range(text: object) -> IPRange:
    first, _, last = text.partition("-") if isinstance(text, str) else ("", "", "")
    try:
        found = IPRange(first, last or first)
    except (AddrFormatError, ValueError):
        found = None
    if found is None or range_text(found) != text:
        raise LineError(f"exclude: {shown(text)} is not like 10.0.0.5 or 10.0.0.5-10.0.0.9")
    return found


def reservation(line: Mapping[str, Any]) -> Reservation:
    """Return the reservation of a line; LineError if it makes no sense."""
    try:
        address = IPAddress(line["address"])
    except (AddrFormatError, ValueError):
        address = None
    if address is None or str(address) != line["address"]:
        raise LineError(f"{shown(line['address'])} is not written as an address is")
    made = Reservation(
        space=line["space"],
        address=address,
        name=line["name"],
        note=line["note"],
        created=float(line["created"]),
    )
    try:
        checks.reservation(made)
    except IpamError as error:
        raise LineError(str(error)) from error
    return made


@dataclass(frozen=True, slots=True)
class PoolLines:
    """What the lines of one pool's addresses are checked against."""

    number: int
    """The pool's key in the importing store."""
    first: int
    family: int
    size: int
    """Addresses of the subnet."""

    @classmethod
    def of(cls, number: int, of: Pool) -> "PoolLines":
        """Return the checks for a pool."""
        return cls(number, int(of.subnet.first), of.family, int(of.subnet.size))

    def offset(self, text: str) -> int:
        """Return an address's distance from the subnet's first; LineError if it lies outside."""
        offset = address_value(text, self.family) - self.first
        if not 0 <= offset < self.size:
            raise LineError(f"{text} lies outside of its pool's subnet")
        return offset

    def lease_offset(self, line: Mapping[str, Any], epoch: int) -> int:
        """Return the distance of a held address; LineError if the line makes no sense."""
        offset = self.offset(line["address"])
        if self.family == 4 and self.size > 2 and offset in (0, self.size - 1):
            raise LineError(f"{line['address']} is its subnet's network or broadcast address")
        if line["kind"] not in _LEASE_KINDS:
            raise LineError(f"kind {shown(line['kind'])} is none of {', '.join(_LEASE_KINDS)}")
        if not 1 <= line["serial"] < (epoch + 1) << SERIAL_BITS:
            raise LineError(f"serial {shown(line['serial'])} is of no start up to {epoch}")
        name(line)
        return offset


_LEASE_KINDS = tuple(kind.value for kind in LeaseKind)


def name(line: Mapping[str, Any]) -> None:
    """Refuse a holder's name that cannot be shown."""
    try:
        checks.holder_name(line["name"])
    except IpamError as error:
        raise LineError(str(error)) from error
