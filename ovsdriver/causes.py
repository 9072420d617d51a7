"""Why something is done: noted with every event that comes of it.

Set where the work begins, and inherited by the tasks that it starts. What nobody asked for is
ovsnet's own doing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import NamedTuple


class Cause(NamedTuple):
    """Who wants it, and what else is to be said of that."""

    name: str
    """``docker``, ``user``, ``repair``, ``cleanup`` or ``ovsnet``."""
    attributes: Mapping[str, str] = MappingProxyType({})
    """``by``: the user; ``why``: a clause; ``options``: what was typed."""


OWN = Cause("ovsnet")
DOCKER = Cause("docker")

CAUSE: ContextVar[Cause] = ContextVar("CAUSE", default=OWN)
"""Of what is being done; like ``logs.REQUEST``."""


@contextmanager
def because(name: str = "", **attributes: str) -> Iterator[None]:
    """Give what is done within another name, and attributes besides those there are."""
    before = CAUSE.get()
    token = CAUSE.set(Cause(name or before.name, {**before.attributes, **attributes}))
    try:
        yield
    finally:
        CAUSE.reset(token)
