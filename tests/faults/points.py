"""The awaits at which something may change that outlasts the process: what is worth a kill."""

from inspect import getmembers, iscoroutinefunction
from typing import Any

from ipam.store import LeaseStore
from ovsdriver import ports

READING = frozenset(
    {"connected", "links", "routes", "taken", "tso", "sandbox_alive", "sandbox_used", "neighbours"}
    | {"state", "held", "boot", "findings", "observed", "able", "differing", "attend", "run"}
    | {"load", "lease", "leases", "holders", "names"}
    | {"differs", "learnt", "answered", "counts", "met", "measured", "look", "ties", "routes_by"}
)
"""Awaits that change nothing: the world is the same at the next one."""

STORE = (ports.State, ports.HostNotes, LeaseStore)


def changing(port: type) -> list[str]:
    """Return the calls of a port that may change something, by their names."""
    return [name for name, each in getmembers(port) if _takes_time(each) and name not in READING]


def _takes_time(member: Any) -> bool:
    return iscoroutinefunction(member) or "told" in getattr(member, "__annotations__", {})
