"""Whom Docker asks DNS names for containers, and from where: rules with names hang on it."""

import json
from pathlib import Path

from netaddr import AddrFormatError, IPAddress

from ovsdriver.cli.doctor.finding import Finding, ok

SUBJECT = "names in access rules"

RESOLVERS = Path("/etc/resolv.conf")
SETTINGS = Path("/etc/docker/daemon.json")
_ALWAYS_BY_HOST = 28
"""From this release on Docker asks the host's servers from the host, whatever their addresses."""


def examine(version: str) -> Finding:
    """Read the host's files; ``version`` is Docker's, empty if it does not answer."""
    return judge(version, _text(RESOLVERS), _text(SETTINGS))


def judge(version: str, resolvers: str, settings: str) -> Finding:
    """Say how containers with names in their rules have them looked up.

    Args:
        version: Docker's, ``26.1.5+dfsg1``; empty: not known.
        resolvers: the host's ``/etc/resolv.conf``.
        settings: ``/etc/docker/daemon.json``.
    """
    given = _given(settings)
    if given:
        return ok(SUBJECT, f"Docker asks {given[0]} from containers, so their rules learn names")
    major = version.partition(".")[0]
    lines = [line.split() for line in resolvers.splitlines()]
    named = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
    past = [
        each
        for each in named
        if not major.isdecimal() or int(major) >= _ALWAYS_BY_HOST or _unreached(each)
    ]
    if not past:
        return ok(SUBJECT, "Docker asks the host's servers from containers, so rules learn names")
    return ok(
        SUBJECT,
        f"Docker asks {past[0]} from this host, so rules learn names only of containers that are "
        "run with --dns GATEWAY, their network's",
    )


def _given(settings: str) -> list[str]:
    try:
        said = json.loads(settings or "{}").get("dns", [])
        return [each for each in map(str, said) if not _unreached(each)]
    except (ValueError, AttributeError, TypeError):
        return []  # dockerd says so itself


def _unreached(text: str) -> bool:
    """Whether an address is one that a container with IPv4 alone does not ask by its gateway."""
    try:
        address = IPAddress(text.partition("%")[0])
    except (AddrFormatError, ValueError):
        return False
    return bool(address.is_loopback() or address.version == 6)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
