"""Whether everybody says the same: Docker, our records, leases, Open vSwitch, kernel, firewall.

Docker's word is the measure. What it lists must be there, whole, in each of the others, and there
must be nothing more of ours. What is compared is read from each of them itself, not from us.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_interface
from typing import Any

from tests.e2e.bed import DATABASE, Bed
from tests.e2e.wire import answer, ask
from tests.e2e.world import until

OWNER = "ovsnet-owner"
OUR_LINK = re.compile("ov[hgipu][0-9a-f]{12}")
DIGITS = 12
"""Of an id, in the name of its link."""

AGREE_S = 60.0
"""How long it may take. The process may just be starting, and looks twice before it mends."""


def all_agree(bed: Bed) -> None:
    """Wait until they do; the bound is generous, so that only a fault ever meets it."""
    last: list[str] = []

    def agreed() -> bool:
        last[:] = disagreements(bed)
        return not last

    until(agreed, lambda: "all agree:\n" + "\n".join(last), timeout_s=AGREE_S)


def disagreements(bed: Bed) -> list[str]:
    """Return what does not agree now, a line each; empty if all does."""
    try:
        seen = _Seen.of(bed)
    except (OSError, ValueError, KeyError) as error:
        return [f"cannot be read: {error!r}"]
    return [*_records(seen), *_leases(seen), *_switch(seen), *_kernel(bed, seen), *_firewall(seen)]


@dataclass(frozen=True, slots=True)
class _Place:
    """A running container's place on a network, as Docker has it."""

    container: str
    network: str
    mac: str
    addresses: frozenset[str]
    pid: int
    published: frozenset[tuple[str, int, int]] = field(default=frozenset())
    """Protocol, port of the host, port of the container."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What each of them says at about the same moment."""

    networks: Mapping[str, Any]
    """Docker's, of our driver, by id."""
    addressed: Mapping[str, Any]
    """Docker's, of any driver, whose addresses are ours."""
    places: Mapping[str, _Place]
    """By id of the endpoint."""
    elsewhere: frozenset[str]
    """Addresses of ours on networks of other drivers."""
    state: Mapping[str, Any]
    status: Mapping[str, Any]
    pools: Iterable[Mapping[str, Any]]
    leases: Mapping[str, list[Mapping[str, Any]]]
    rows: Mapping[str, list[dict[str, Any]]]
    links: Mapping[str, Mapping[str, Any]]
    rules: list[dict[str, Any]]

    @classmethod
    def of(cls, bed: Bed) -> "_Seen":
        docker = partial(answer, bed.outer_path("/run/docker.sock"), "GET")
        ovsnet = partial(ask, bed)
        listed = [docker(f"/networks/{each['Id']}") for each in docker("/networks")]
        networks = {each["Id"]: each for each in listed if each["Driver"] == "ovsnet"}
        addressed = {
            each["Id"]: each
            for each in listed
            if each["IPAM"]["Driver"].startswith(("ovsipam", "ovsnet"))
        }
        # A container whose `docker network connect` failed goes on naming the endpoint that dockerd
        # has removed (26.1); what its networks list is what there is.
        standing = {
            each["EndpointID"]
            for network in (*addressed.values(), *networks.values())
            for each in (network["Containers"] or {}).values()
        }
        places: dict[str, _Place] = {}
        elsewhere: set[str] = set()
        for each in docker("/containers/json"):
            container = docker(f"/containers/{each['Id']}/json")
            for place in container["NetworkSettings"]["Networks"].values():
                if place["EndpointID"] not in standing:
                    continue
                if place["NetworkID"] in networks:
                    places[place["EndpointID"]] = _place(container, place)
                elif place["NetworkID"] in addressed:
                    elsewhere |= _addresses(place)
        pools = ovsnet("list-pools")
        return cls(
            networks=networks,
            addressed=addressed,
            places=places,
            elsewhere=frozenset(elsewhere),
            state=ovsnet("show-state"),
            status=ovsnet("show-status"),
            pools=pools,
            leases={
                each["pool"]["id"]: ovsnet("list-leases", pool=each["pool"]["id"])["leases"]
                for each in pools
            },
            rows=_rows(bed),
            links={each["ifname"]: each for each in json.loads(bed.run("ip", "-json", "address"))},
            rules=json.loads(bed.run("nft", "--json", "list", "ruleset"))["nftables"],
        )

    def gateways(self) -> set[str]:
        """Return the links of the gateways that there should be, by our own records."""
        return {each["gateway_link"] for each in self.state["networks"] if each["gateway_link"]}


def _place(container: Any, place: Any) -> _Place:
    bindings = container["HostConfig"]["PortBindings"] or {}
    published = {
        (name.partition("/")[2], int(each["HostPort"]), int(name.partition("/")[0]))
        for name, found in bindings.items()
        for each in found
    }
    return _Place(
        container=container["Name"].strip("/"),
        network=place["NetworkID"],
        mac=place["MacAddress"],
        addresses=frozenset(_addresses(place)),
        pid=container["State"]["Pid"],
        published=frozenset(published),
    )


def _addresses(place: Any) -> set[str]:
    pairs = (("IPAddress", "IPPrefixLen"), ("GlobalIPv6Address", "GlobalIPv6PrefixLen"))
    return {f"{place[address]}/{place[length]}" for address, length in pairs if place[address]}


def _rows(bed: Bed) -> Mapping[str, list[dict[str, Any]]]:
    """Return every row of Open vSwitch's database, by table; maps and sets as Python has them."""
    dump = bed.run(
        "ovsdb-client", "--timeout=20", "--format=json", "dump", DATABASE, "Open_vSwitch"
    )
    tables = [json.loads(line) for line in dump.splitlines() if line]
    return {
        table["caption"].removesuffix(" table"): [
            {k: _plain(v) for k, v in zip(table["headings"], row, strict=True)}
            for row in table["data"]
        ]
        for table in tables
    }


def _plain(value: Any) -> Any:
    match value:
        case ["map", pairs]:
            return {key: _plain(each) for key, each in pairs}
        case ["set", items]:
            return [_plain(each) for each in items]
        case ["uuid", text]:
            return text
    return value


def _compared(what: str, wanted: Iterable[Any], found: Iterable[Any]) -> Iterator[str]:
    wanted, found = set(wanted), set(found)
    for each in sorted(wanted - found, key=str):
        yield f"{what}: {each} is missing"
    for each in sorted(found - wanted, key=str):
        yield f"{what}: {each} is there and should not be"


def _records(seen: _Seen) -> Iterator[str]:
    if seen.status["degraded"]:
        yield f"degraded: {seen.status['degraded']}"
    for each in (*seen.status["repairs"]["failed"], *seen.status["repairs"]["beyond"]):
        yield f"not mended: {each}"
    ready = [(each["network"]["id"], each["state"]) for each in seen.state["networks"]]
    yield from _compared("network", [(each, "ready") for each in seen.networks], ready)
    wanted = [
        (endpoint, place.network, place.mac, place.addresses, "attached")
        for endpoint, place in seen.places.items()
    ]
    found = [
        (
            *(each["endpoint"]["id"], each["endpoint"]["network"], each["endpoint"]["mac"]),
            *(frozenset(each["endpoint"]["addresses"]), each["state"]),
        )
        for each in seen.state["endpoints"]
    ]
    yield from _compared("endpoint", wanted, found)


def _leases(seen: _Seen) -> Iterator[str]:
    subnets = [
        (each["Subnet"], (network["IPAM"]["Options"] or {}).get("ipam.space", "ovsnet"))
        for network in seen.addressed.values()
        for each in network["IPAM"]["Config"]
    ]
    yield from _compared(
        "pool", subnets, [(each["pool"]["subnet"], each["pool"]["space"]) for each in seen.pools]
    )
    wanted = {address.partition("/")[0] for address in seen.elsewhere}
    for place in seen.places.values():
        if place.network in seen.addressed:
            wanted |= {address.partition("/")[0] for address in place.addresses}
    leases = [each for found in seen.leases.values() for each in found]
    held = [each["lease"]["address"] for each in leases if each["lease"]["kind"] == "endpoint"]
    yield from _compared("lease", wanted, held)
    if len(set(held)) != len(held):
        yield f"lease: one address twice among {sorted(held)}"


def _switch(seen: _Seen) -> Iterator[str]:
    bridges = {row["name"] for row in seen.rows["Bridge"] if OWNER in row["external_ids"]}
    ours = [row for row in seen.rows["Port"] if OWNER in row["external_ids"]]
    ours = [row for row in ours if row["name"] not in bridges]
    wanted = [f"ovh{each[:DIGITS]}" for each in seen.places]
    yield from _compared("port", [*wanted, *seen.gateways()], [row["name"] for row in ours])
    interfaces = {row["_uuid"]: row for row in seen.rows["Interface"]}
    segments = [each["network"]["segment"] for each in seen.state["networks"]]
    tags = {
        each["gateway_link"]: each["network"]["segment"]["tag"] for each in seen.state["networks"]
    }
    tags |= {each["port_name"]: each["port"]["vlan"] for each in seen.state["endpoints"]}
    for row in ours:
        interface = interfaces[row["interfaces"]]
        if not isinstance(interface["ofport"], int) or interface["ofport"] < 1:
            yield f"port: {row['name']} is not in the datapath: {interface['error']}"
        if row["tag"] != tags.get(row["name"]):
            yield f"port: {row['name']} has tag {row['tag']}, not {tags.get(row['name'])}"
    there = {each["bridge"] for each in segments if not each["adopted"]}
    yield from _compared("bridge", there, bridges)


def _kernel(bed: Bed, seen: _Seen) -> Iterator[str]:
    wanted = {f"ovh{each[:DIGITS]}" for each in seen.places} | seen.gateways()
    yield from _compared("link", wanted, [name for name in seen.links if OUR_LINK.match(name)])
    for each in seen.state["networks"]:
        link = seen.links.get(each["gateway_link"] or "")
        if link is not None:
            yield from _compared(
                f"address of gateway {each['gateway_link']}",
                _gateway_addresses(each["network"]),
                _global_addresses(link),
            )
    for place in seen.places.values():
        inside = bed.attempt("ip", "-json", "address", netns=f"/proc/{place.pid}/ns/net")
        links = json.loads(inside.out or "[]")
        link = next((each for each in links if each.get("address") == place.mac), None)
        if link is None or "LOWER_UP" not in link["flags"]:
            yield f"container {place.container}: no live link with MAC {place.mac}"
        else:
            what = f"address of container {place.container}"
            yield from _compared(what, place.addresses, _global_addresses(link))


def _gateway_addresses(network: Mapping[str, Any]) -> set[str]:
    return {
        f"{each['gateway']}/{ip_interface(each['cidr']).network.prefixlen}"
        for each in network["subnets"]
        if each["gateway"]
    }


def _global_addresses(link: Mapping[str, Any]) -> set[str]:
    return {
        f"{each['local']}/{each['prefixlen']}"
        for each in link["addr_info"]
        if each["scope"] != "link"
    }


def _firewall(seen: _Seen) -> Iterator[str]:
    named: dict[str, list[Any]] = {}
    for each in seen.rules:
        for kind in ("set", "map"):
            if kind in each and each[kind]["table"] == "ovsnet":
                named[each[kind]["name"]] = each[kind].get("elem", [])
    yield from _compared("gateway in the rules", seen.gateways(), named.get("gateways", []))
    found = {
        (key["concat"][0], key["concat"][-1], *value["concat"])
        for name, elements in named.items()
        if name.startswith(("published", "everywhere"))
        for key, value in elements
    }
    wanted = {
        (protocol, host, address.partition("/")[0], port)
        for place in seen.places.values()
        for protocol, host, port in place.published
        for address in place.addresses
    }
    yield from _compared("published port in the rules", wanted, found)
