"""The kernel's refusals in the words of people, translated where they enter."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from ovsdriver.errors import UnavailableError


@contextmanager
def translated(what: str, timeout_s: float) -> Iterator[None]:
    """Raise UnavailableError for what the kernel refuses or does not do in time."""
    try:
        yield
    except TimeoutError as error:
        raise UnavailableError(f"{what}: no answer within {timeout_s:g} s; try again") from error
    except OSError as error:
        raise UnavailableError(f"{what}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename:
        reason += f" ({error.filename})"
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        reason += (
            "; ovsnet must run as root, or with CAP_NET_ADMIN, CAP_NET_RAW and CAP_SYS_ADMIN, and "
            "with a writable /proc/sys"
        )
    return reason
