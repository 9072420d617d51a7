"""Whom a container asks for names, from its ``resolv.conf``. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netaddr import AddrFormatError, IPAddress

from ovsdriver.domain.records.model import Network
from ovsdriver.domain.tracing.containers import End
from ovsdriver.domain.tracing.hops import Hop, Kind, Place, bad, good, unsure

DOCKERS = IPAddress("127.0.0.11")
"""Where Docker's own resolver is, in containers of networks that people made."""

_FORWARDED = re.compile(r"^#\s*ExtServers:\s*\[(.*)\]", re.MULTILINE)
_IN_HOST = re.compile(r"host\((.*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Who is asked."""

    address: IPAddress
    by_host: bool = False
    """Docker asks it from this host, and not from the container."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """All that are asked."""

    asked: tuple[IPAddress, ...]
    """By the container itself."""
    forwarded: tuple[Server, ...]
    """By Docker's resolver, for what it does not know: that is all but names of containers."""


def read(text: str) -> Servers:
    """Return what a container's ``/etc/resolv.conf`` says, and Docker's comments in it."""
    asked = [
        words[1]
        for line in text.splitlines()
        if (words := line.split())[:1] == ["nameserver"] and len(words) > 1
    ]
    found = _FORWARDED.search(text)
    forwarded = []
    for word in found[1].replace(",", " ").split() if found is not None else ():
        of_host = _IN_HOST.fullmatch(word)
        address = _address(of_host[1] if of_host is not None else word)
        if address is not None:
            forwarded.append(Server(address=address, by_host=of_host is not None))
    known = (_address(each) for each in asked)
    return Servers(
        asked=tuple(each for each in known if each is not None), forwarded=tuple(forwarded)
    )


def _address(text: str) -> IPAddress | None:
    try:
        return IPAddress(text.partition("%")[0])
    except (AddrFormatError, ValueError):
        return None


def of_docker(end: End, servers: Servers, *, listens: bool | None) -> Iterator[Hop]:
    """Tell what stands in the way of names before a server outside is asked.

    Args:
        end: who asks.
        servers: whom it and Docker ask.
        listens: Docker's resolver is there inside of it; None: not known.
    """
    place = Place(name="DNS", kind=Kind.DNS)
    if not servers.asked:
        yield bad(
            place,
            f"/etc/resolv.conf of {end.name} names no server; restart the container, or give it "
            "one by `docker run --dns`",
            by=f"/etc/resolv.conf of {end.name}",
        )
    listed = ", ".join(map(str, servers.asked))
    if DOCKERS not in servers.asked:
        yield good(place, f"{end.name} asks {listed} itself, and Docker's resolver nothing")
        return
    if listens is False:
        yield bad(
            place,
            f"Docker's resolver {DOCKERS} is not there inside of {end.name}; restart the container",
            by="Docker's resolver",
        )
    yield good(
        place, f"{end.name} asks Docker's resolver {DOCKERS}, which answers names of containers"
    )
    if end.closed == "--internal":
        yield bad(
            place,
            f"Docker asks nobody else for containers that are on --internal networks alone; "
            f"connect {end.name} to another one, too: `docker network connect NETWORK {end.name}`",
            by=f"--internal of {end.network}",
        )
    if not servers.forwarded:
        yield bad(
            place,
            "Docker knows no server for other names; write a nameserver into the host's "
            "/etc/resolv.conf, or `docker run --dns`, and restart the container",
            by="the servers that Docker asks",
        )


def by_host(server: Server, *, listens: bool | None) -> Hop:
    """Tell of a server that Docker asks from here.

    ``listens``: of a server on this host, whether a program waits there; None: it is elsewhere.
    """
    place = Place(name="DNS", kind=Kind.DNS)
    asked = f"Docker asks {server.address} from this host"
    if listens is None:
        return good(place, asked)
    if listens:
        return good(place, f"{asked}, where a program listens")
    return bad(
        place,
        f"nobody listens at {server.address}, which Docker asks from this host; start it, or name "
        "another server in /etc/resolv.conf",
        by="the servers that Docker asks",
    )


def past_rules(server: Server, network: Network) -> Hop:
    """Tell of a server that Docker asks for a container whose rules have names."""
    return unsure(
        Place(name="DNS", kind=Kind.DNS),
        learns_nothing([server.address], network),
        by="the servers that Docker asks",
    )


def learns_nothing(asked: Sequence[IPAddress], network: Network) -> str:
    """Return why names in a container's rules reach nothing, and what to type.

    Args:
        asked: whom Docker asks for the container from this host.
        network: of the container, whose gateway answers by the rules.
    """
    gateways = (each.gateway for each in network.subnets if each.gateway is not None)
    return (
        f"Docker asks {' and '.join(map(str, asked))} for it from this host, so DNS names in its "
        f"rules reach nothing; run it with --dns {next(gateways, 'ADDRESS')}"
    )


def in_itself(end: End, server: Server) -> Hop:
    """Tell of a server on a container's own loopback."""
    return unsure(
        end.place,
        f"{server.address} is {end.name} itself, where a name server would have to run; run it "
        "with another --dns",
        by=f"/etc/resolv.conf of {end.name}",
    )
