"""The rule that holds in a fleet whatever happened: nothing that was said is missing, none twice.

Docker's word on each host is the measure. What its networks list must be in OVN's northbound
database, as one row for each address, with that host's name and its endpoint; in its names; on its
host's bridge; and nothing more of ours may be anywhere.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.e2e.wire import answer, ask
from tests.e2e.world import CommandError, until
from tests.faults.haste import hurried
from tests.hosts.fleet import Fleet, at_once
from tests.hosts.host import Host

AGREE_S = 120.0
_GIVEN_AWAY = re.compile(r"endpoint (\w{12}): its address \S+ was given to host")


def wait_until_held(fleet: Fleet) -> None:
    """Wait until it is so; the bound is generous, so that only a fault ever meets it."""
    last: list[str] = []

    def so() -> bool:
        at_once(_start_again, fleet.hosts)
        last[:] = breaches(fleet)
        return not last

    with ExitStack() as stack:
        for host in fleet.hosts:
            stack.enter_context(hurried(host))
        until(so, lambda: "all agree:\n" + "\n".join(last), timeout_s=AGREE_S)


def _start_again(host: Host) -> None:
    """Do what ovsnet asks for: an address whose row is lost may be another host's by then."""
    try:
        told = " ".join(ask(host, "show-status")["repairs"]["beyond"])
        lost = set(_GIVEN_AWAY.findall(told))
        for place in _seen(host).places if lost else ():
            if place.endpoint[:12] in lost:
                host.attempt("docker", "restart", "--time", "0", place.container)
    except (OSError, ValueError, KeyError):
        return  # it does not answer yet


def breaches(fleet: Fleet) -> list[str]:
    """Return what does not agree now, a line each; empty if all does."""
    try:
        here = dict(zip(fleet.hosts, at_once(_seen, fleet.hosts), strict=True))
        rows = _rows(fleet)
    except (OSError, ValueError, KeyError, CommandError) as error:
        return [f"cannot be read: {error!r}"[:400]]
    return [*_addresses(here, rows), *_names(here, rows), *_pools(here, rows), *_hosts(here)]


@dataclass(frozen=True, slots=True)
class _Place:
    """A container's place on a segment, as its Docker has it."""

    segment: str
    container: str
    endpoint: str
    addresses: tuple[str, ...]
    """IPv4 first."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there is on a host."""

    places: list[_Place]
    pools: Counter[str]
    """How many each segment has."""
    endpoints: set[str]
    """In our records, on segments."""
    plugged: Counter[str]
    """What ports of ours on OVN's bridge say they are."""
    tunnels: int
    failed: list[str]
    """Repairs."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What there is in the northbound database."""

    leases: dict[str, dict[str, str]]
    """Our keys, by the name of the row."""
    names: dict[str, str]
    """Host by endpoint."""
    pools: Counter[tuple[str, str]]
    """How many each segment and host has."""


def _seen(host: Host) -> _Seen:
    docker = partial(answer, host.outer_path("/run/docker.sock"), "GET")
    networks = [docker(f"/networks/{each['Id']}") for each in docker("/networks")]
    ours = {
        each["Id"]: each
        for each in networks
        if each["Driver"] == "ovsnet" and "ovs.segment" in each["Options"]
    }
    places = [
        _Place(
            segment=network["Options"]["ovs.segment"],
            container=each["Name"],
            endpoint=each["EndpointID"],
            addresses=tuple(
                each[key].partition("/")[0] for key in ("IPv4Address", "IPv6Address") if each[key]
            ),
        )
        for network in ours.values()
        for each in (network["Containers"] or {}).values()
    ]
    pools: Counter[str] = Counter()
    for network in ours.values():
        pools[network["Options"]["ovs.segment"]] += len(network["IPAM"]["Config"])
    state = ask(host, "show-state")
    said = ("--format=json", "--columns=name,external_ids", "list", "Interface")
    interfaces = json.loads(host.ovs_vsctl(*said))["data"]
    ids = {name: dict(pairs[1]) for name, pairs in interfaces}
    return _Seen(
        places=places,
        pools=pools,
        endpoints={
            each["endpoint"]["id"]
            for each in state["endpoints"]
            if each["endpoint"]["network"] in ours
        },
        failed=ask(host, "show-status")["repairs"]["failed"],
        plugged=Counter(
            pairs["iface-id"]
            for name, pairs in ids.items()
            if "iface-id" in pairs and name.startswith("ov")
        ),
        tunnels=sum(name.startswith("ovn-") for name in ids),
    )


def _rows(fleet: Fleet) -> _Rows:
    def listed(table: str, *columns: str) -> list[list[Any]]:
        said = ("--format=json", f"--columns={','.join(columns)}", "list", table)
        found: list[list[Any]] = json.loads(fleet.nbctl(*said))["data"]
        return found

    ports = {n: dict(ids[1]) for n, ids in listed("Logical_Switch_Port", "name", "external_ids")}
    names = [dict(ids[1]) for (ids,) in listed("DNS", "external_ids")]
    pools = Counter(
        (name, host)
        for name, ids in listed("Logical_Switch", "name", "external_ids")
        for key, host in ids[1]
        if key.startswith("ovsnet:pool:")
    )
    return _Rows(
        leases={name: ids for name, ids in ports.items() if ids.get("ovsnet:host")},
        names={ids["ovsnet:endpoint"]: ids["ovsnet:host"] for ids in names},
        pools=pools,
    )


def _addresses(here: dict[Host, _Seen], rows: _Rows) -> Iterator[str]:
    held: dict[str, tuple[str, _Place]] = {}
    for host, seen in here.items():
        for place in seen.places:
            for address in place.addresses:
                row = f"{place.segment}/{address}"
                if row in held:
                    yield f"TWICE: {row} of {place} on {host.system_id} and of {held[row]}"
                held[row] = (host.system_id, place)
    for row in held.keys() - rows.leases.keys():
        yield f"MISSING: the row of {row}, {held[row]}"
    for row, ids in rows.leases.items():
        if row not in held:
            yield f"left: row {row} {ids}"
            continue
        host_name, place = held[row]
        if ids["ovsnet:host"] != host_name:
            yield f"row {row} is of {ids['ovsnet:host']}, and {place} on {host_name}"
        first = f"{place.segment}/{place.addresses[0]}" == row
        if first and ids.get("ovsnet:endpoint") != place.endpoint:
            yield f"row {row} {ids} does not name {place}"


def _names(here: dict[Host, _Seen], rows: _Rows) -> Iterator[str]:
    there = {p.endpoint: host.system_id for host, seen in here.items() for p in seen.places}
    for endpoint, host_name in there.items() - rows.names.items():
        yield f"no name of endpoint {endpoint[:12]} on {host_name}"
    for endpoint, host_name in rows.names.items() - there.items():
        yield f"left: a name of endpoint {endpoint[:12]} on {host_name}"


def _pools(here: dict[Host, _Seen], rows: _Rows) -> Iterator[str]:
    wanted = Counter(
        {
            (segment, host.system_id): count
            for host, seen in here.items()
            for segment, count in seen.pools.items()
        }
    )
    if wanted != rows.pools:
        yield f"pools: missing {dict(wanted - rows.pools)}, left {dict(rows.pools - wanted)}"


def _hosts(here: dict[Host, _Seen]) -> Iterator[str]:
    for host, seen in here.items():
        name = host.system_id
        known = {each.endpoint for each in seen.places}
        if known != seen.endpoints:
            yield f"{name}: records and Docker differ in endpoints {known ^ seen.endpoints}"
        wanted = Counter(f"{each.segment}/{each.addresses[0]}" for each in seen.places)
        wanted |= Counter(f"{segment}/dns" for segment in seen.pools)
        if wanted != seen.plugged:
            yield (
                f"{name}: ports on br-int: missing {dict(wanted - seen.plugged)}, left "
                f"{dict(seen.plugged - wanted)}"
            )
        for what in seen.failed:
            yield f"{name}: not mended: {what}"
        if seen.tunnels != len(here) - 1:
            yield f"{name}: {seen.tunnels} tunnels"
