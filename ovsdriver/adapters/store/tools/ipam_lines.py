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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, BinaryIO, ClassVar, TypeAlias, TypeVar

from netaddr import AddrFormatError, IPAddress, IPNetwork, IPRange

from ipam import IpamError, LeaseKind, Pool, PoolId, PoolRequest, Reservation, checks
from ovsdriver import codec
from ovsdriver.adapters.store.tools.inspection import EPOCHS, start_of
from ovsdriver.codec import UnreadableError, Written, range_of, range_text, shown
from ovsdriver.errors import InvalidRequestError

T = TypeVar("T")

VERSION = 1
"""Raised when a line gets another meaning; older ones are then read too."""

LONGEST = 64 << 10
"""Bytes of a line. The longest that is written is a pool with 64 exclusions: 6 KiB."""

LATEST_S = 253_402_300_799.0
"""The last second that can be shown as a date, of the year 9999."""

_FAMILIES = {4: (socket.AF_INET, 4), 6: (socket.AF_INET6, 16)}
_POOL_ID = re.compile(r"[!-~]{1,64}")


class LineError(InvalidRequestError):
    """A line makes no sense; which one is added by who knows it."""


def _as_written(text: str, read: Callable[[str], T], write: Callable[[T], str], why: str) -> T:
    """Read what must be as it would be written again; ValueError says ``why`` it is not."""
    try:
        found = read(text)
    except (AddrFormatError, ValueError):
        found = None
    if found is None or write(found) != text:
        raise ValueError(f"{shown(text)} {why}")
    return found


def _subnet(text: str) -> IPNetwork:
    return _as_written(text, IPNetwork, str, "is not written as a subnet is, like 10.0.0.0/24")


def _range(text: str) -> IPRange:
    return _as_written(text, range_of, range_text, "is not like 10.0.0.5 or 10.0.0.5-10.0.0.9")


def _address(text: str) -> IPAddress:
    return _as_written(text, IPAddress, str, "is not written as an address is")


Subnet: TypeAlias = Annotated[IPNetwork, Written(_subnet)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What comes first. Here and below all times are in seconds since the epoch."""

    TYPE: ClassVar[str] = "ovsnet-ipam"

    version: int
    epoch: int
    """How often the store was opened."""
    exported: float
    program: str

    def check(self) -> None:
        """Refuse an export that cannot be read; LineError."""
        if self.version != VERSION:
            raise LineError(
                f"the export has version {shown(self.version)}, this ovsnet reads {VERSION}; "
                "use the ovsnet that wrote it, or a newer one"
            )
        if not 0 <= self.epoch < EPOCHS:
            raise LineError(f"epoch {shown(self.epoch)} is not between 0 and {EPOCHS - 1}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLine:
    """A pool."""

    TYPE: ClassVar[str] = "pool"

    id: str
    space: str
    subnet: Subnet
    range: Subnet | None
    automatic: bool
    exclude: tuple[Annotated[IPRange, Written(_range)], ...]
    quarantine: float
    limit: int | None
    probe: bool
    created: float

    @classmethod
    def of(cls, pool: Pool) -> "PoolLine":
        """Return the line of a pool."""
        return cls(
            id=pool.id,
            space=pool.space,
            subnet=pool.subnet,
            range=pool.window,
            automatic=pool.automatic,
            exclude=pool.excluded,
            quarantine=pool.quarantine_s,
            limit=pool.limit,
            probe=pool.probe,
            created=pool.created,
        )

    def pool(self, epoch: int) -> Pool:
        """Return the pool, of a store with that epoch; LineError if it makes no sense."""
        if not _POOL_ID.fullmatch(self.id):
            raise LineError(
                f"id {shown(self.id)} is not 1 to 64 printable characters without blanks"
            )
        start = start_of(self.id)
        if start > epoch:
            raise LineError(f"id {shown(self.id)} is of start {start}, the export of start {epoch}")
        try:
            checks.space(self.space)
            request = PoolRequest(
                space=self.space,
                subnet=self.subnet,
                window=self.range,
                family=int(self.subnet.version),
                excluded=self.exclude,
                quarantine_s=self.quarantine,
                limit=self.limit,
            )
            checks.subnet(request, self.subnet)
            checks.wishes(request)
            if self.range is not None:
                checks.window(self.subnet, self.range)
            excluded = checks.excluded(self.subnet, self.exclude)
        except IpamError as error:
            raise LineError(str(error)) from error
        if self.limit is not None and self.limit >= 1 << 63:
            raise LineError("limit is too large a number")
        return Pool(
            id=PoolId(self.id),
            space=self.space,
            subnet=self.subnet,
            window=self.range,
            automatic=self.automatic,
            excluded=excluded,
            quarantine_s=float(self.quarantine),
            limit=self.limit,
            probe=self.probe,
            created=float(self.created),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLine:
    """An address that is held. As a text: there may be a million."""

    TYPE: ClassVar[str] = "lease"

    pool: str
    address: str
    kind: LeaseKind
    wanted: bool
    name: str
    serial: int
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLine:
    """Who had an address that is free."""

    TYPE: ClassVar[str] = "memory"

    pool: str
    address: str
    name: str
    wanted: bool
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationLine:
    """An address that is kept."""

    TYPE: ClassVar[str] = "reservation"

    space: str
    address: Annotated[IPAddress, Written(_address)]
    name: str
    note: str
    created: float

    @classmethod
    def of(cls, kept: Reservation) -> "ReservationLine":
        """Return the line of a reservation."""
        return cls(
            space=kept.space,
            address=kept.address,
            name=kept.name,
            note=kept.note,
            created=kept.created,
        )

    def reservation(self) -> Reservation:
        """Return the reservation; LineError if it makes no sense."""
        made = Reservation(
            space=self.space,
            address=self.address,
            name=self.name,
            note=self.note,
            created=float(self.created),
        )
        try:
            checks.reservation(made)
        except IpamError as error:
            raise LineError(str(error)) from error
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How much there was, and nothing comes after it."""

    TYPE: ClassVar[str] = "end"

    pools: int
    leases: int
    memories: int
    reservations: int


Line: TypeAlias = Header | PoolLine | LeaseLine | MemoryLine | ReservationLine | End

encoded = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=codec.plain).encode
"""A line as text."""


class Lines:
    """The lines of a file, one by one, and the number of the one that was read last."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[Line]:
        while raw := self._file.readline(LONGEST + 1):
            self.number += 1
            if len(raw) > LONGEST:
                raise LineError(f"it is longer than {LONGEST >> 10} KiB, which none is")
            try:
                line: Line = codec.decode(Line, raw, strict=True)  # type: ignore[arg-type]
            except UnreadableError as error:
                cut = "" if raw.endswith(b"\n") else "; the file seems to be cut"
                raise LineError(f"{error}{cut}") from error
            for name in ("exported", "quarantine", "created", "since"):
                if not 0 <= (value := getattr(line, name, 0.0)) <= LATEST_S:
                    raise LineError(f"{name}: {shown(value)} is no time in seconds")
            yield line


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
