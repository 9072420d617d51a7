"""What the IPAM refuses, worded for the person who typed the command."""

from collections.abc import Iterator
from contextlib import contextmanager


class IpamError(Exception):
    """Anything the IPAM refuses or cannot do; the text is for the caller."""

    status = 500
    index: int | None = None
    """Which one of several things, asked for at once, is refused; None: no certain one."""


@contextmanager
def one_of_several(index: int) -> Iterator[None]:
    """Note in what is refused inside which one it is about."""
    try:
        yield
    except IpamError as error:
        error.index = index
        raise


class InvalidPoolError(IpamError):
    """A subnet, a range, a prefix length or a space that makes no sense."""

    status = 400


class InvalidNameError(IpamError):
    """A holder's name that cannot be written down or shown."""

    status = 400


class UnknownPoolError(IpamError):
    """A pool id that we did not give, or whose pool was released."""

    status = 400


class OverlapError(IpamError):
    """The subnet overlaps a pool of the same space."""

    status = 409


class ExhaustedError(IpamError):
    """No subnet or no address is left."""

    status = 409


class AddressError(IpamError):
    """The wanted address is outside of the pool, not usable in it, or taken."""

    status = 409


class InvalidReservationError(IpamError):
    """A reservation that makes no sense, or that no pool could fulfil."""

    status = 400


class ReservedError(AddressError):
    """The address is kept for somebody else."""


class LimitError(IpamError):
    """The pool or its space holds as much as it may."""

    status = 409


class StoreError(IpamError):
    """The store did not take the change; nothing was given."""

    status = 503
