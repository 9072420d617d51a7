"""A host to forward for: the test's own namespace, with an uplink, gateways and other people.

    host = RoutedHost()
    host.uplink("wan0")                 # a world outside that knows no way back to containers
    one = host.network("1")             # a gateway of ours, and a container behind it
    docker = host.docker_bridge()       # docker0 with a container on it
    assert one.reaches(host.outside)

Devices are plain: veth pairs whose host end is called like a gateway of ours. Every namespace
has addresses of both families; all is gone with the namespaces.
"""

import json
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records.model import Mode, NetworkId
from ovsdriver.domain.traffic.firewall import FirewallPlan, GatewayRules
from tests.integration.netns import Sandbox, run

PATIENCE_S = 15.0
_ANSWER_S = "1"
_SILENCE_S = "0.4"
_AT_ONCE = ("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
"""Without detection of duplicates, which takes a second before an address can be used."""


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace with one link, ``eth0``, and its addresses."""

    sandbox: Sandbox
    addresses: Mapping[int, IPNetwork]

    def reaches(self, other: "Place", family: int = 4) -> bool:
        """Whether a ping arrives and comes back, sooner or later."""
        return eventually(lambda: self._ping(other, family, wait_s=_ANSWER_S))

    def is_cut_off_from(self, other: "Place", family: int = 4) -> bool:
        """Whether no ping comes back, several times over."""
        return not any(self._ping(other, family, wait_s=_SILENCE_S) for _ in range(2))

    def seen_by(self, other: "Place", family: int = 4) -> IPAddress:
        """The address that ``other`` sees us at when we connect to it."""
        near, far, peer = self.connect(other, family)
        near.close()
        far.close()
        return peer

    def connect(
        self, other: "Place", family: int = 4, *, port: int = 7
    ) -> tuple[socket.socket, socket.socket, IPAddress]:
        """Open a TCP connection; returns both ends and the address that ``other`` sees."""
        kind = {4: socket.AF_INET, 6: socket.AF_INET6}[family]
        target = (str(other.addresses[family].ip), port)
        listener = other.sandbox.call(lambda: socket.create_server(("", port), family=kind))
        with listener:
            listener.settimeout(PATIENCE_S)
            near = self.sandbox.call(lambda: socket.create_connection(target, PATIENCE_S))
            far, peer = listener.accept()
        return near, far, IPAddress(peer[0])

    def counted_pings(self, family: int = 4) -> int:
        """How many pings have arrived here, answered or not."""
        if family == 4:
            lines = self.sandbox.run("cat", "/proc/net/snmp").splitlines()
            names, values = (line.split() for line in lines if line.startswith("Icmp:"))
            return int(values[names.index("InEchos")])
        lines = self.sandbox.run("cat", "/proc/net/snmp6").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Icmp6InEchos "))

    def ping_from(self, source: IPAddress, other: "Place") -> bool:
        """Send a ping with a source address of this namespace, and whether an answer came."""
        return self._ping(other, source.version, "-I", str(source), wait_s=_SILENCE_S)

    def _ping(self, other: "Place", family: int, *options: str, wait_s: str) -> bool:
        target = str(other.addresses[family].ip)
        printed = self.sandbox.run("ping", "-n", "-c1", "-W", wait_s, *options, target, check=False)
        return " 0% packet loss" in printed

    def routes(self, other: "Place", family: int, via: IPAddress) -> None:
        """Add a host route to ``other``."""
        self.sandbox.run("ip", "route", "add", str(other.addresses[family].ip), "via", str(via))


@dataclass(frozen=True, slots=True)
class Outside(Place):
    """A neighbour of the host."""

    def gateway(self, family: int) -> IPAddress:
        """The host's address on the same wire."""
        return self.addresses[family][1]


@dataclass(frozen=True, slots=True)
class Behind(Place):
    """A container, and the host's link that it is behind."""

    link: str
    gateways: Mapping[int, IPAddress]

    @property
    def subnets(self) -> tuple[IPNetwork, ...]:
        """Subnets of its network."""
        return tuple(address.cidr for address in self.addresses.values())

    def rules(self, *, masquerade: bool = True) -> GatewayRules:
        """What a plan says of its gateway."""
        return GatewayRules(
            network=NetworkId(self.link),
            link=self.link,
            mode=Mode.NAT,
            subnets=self.subnets,
            masquerade=masquerade,
        )


class RoutedHost:
    """The test's namespace as a host. ``lo`` is up, nothing else is there yet."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        run(*_AT_ONCE)

    def uplink(
        self, link: str = "wan0", *, number: int = 1, default: bool = True, bridge: bool = False
    ) -> "Outside":
        """Add a neighbour on a wire of its own; the host's default route may lead through it.

        It has a route to nothing but that wire, as the real outside has none to containers.
        With ``bridge``, ``link`` is a Linux bridge that the wire is plugged into.
        """
        subnets = IPNetwork(f"192.0.2.{number * 8}/29"), IPNetwork(f"2001:db8:{number}::/64")
        place = self._neighbour(link, subnets, bridge=bridge)
        if default:
            for family in (4, 6):
                via = str(place.addresses[family].ip)
                run("ip", f"-{family}", "route", "add", "default", "via", via, "dev", link)
        return place

    def network(self, number: int) -> Behind:
        """Add a gateway of ours with a container behind it."""
        return self._behind(f"ovg{number:012x}", number)

    def docker_bridge(self, name: str = "docker0", *, number: int = 17) -> Behind:
        """Add a Linux bridge with a container on it, as Docker's bridge driver makes them."""
        run("ip", "link", "add", name, "type", "bridge")
        place = self._behind(f"v{number}", number, bridge=name)
        return Behind(place.sandbox, place.addresses, name, place.gateways)

    def beside(self, bridge: str, place: "Outside") -> Place:
        """Add another neighbour on the wire of an uplink that is a bridge."""
        sandbox, addresses = self._sandbox(), {}
        self._plug(f"{bridge}-more", sandbox, bridge=bridge)
        for family, address in place.addresses.items():
            mine = IPNetwork(f"{address[3]}/{address.prefixlen}")
            sandbox.run(*_address(str(mine), "eth0"))
            addresses[family] = mine
        return Place(sandbox, addresses)

    def knows_way(self, place: "Outside", to: Behind) -> None:
        """Give a neighbour routes to a network behind the host, as a router outside may have."""
        for family in (4, 6):
            subnet, via = to.addresses[family].cidr, place.gateway(family)
            place.sandbox.run("ip", "route", "add", str(subnet), "via", str(via))

    def _neighbour(self, link: str, subnets: tuple[IPNetwork, ...], *, bridge: bool) -> "Outside":
        sandbox, addresses, wire = self._sandbox(), {}, link
        if bridge:
            run("ip", "link", "add", link, "type", "bridge")
            wire = f"{link}-wire"
        self._plug(wire, sandbox, bridge=link if bridge else "")
        for subnet in subnets:
            ours, theirs = subnet[1], subnet[2]
            run(*_address(f"{ours}/{subnet.prefixlen}", link))
            sandbox.run(*_address(f"{theirs}/{subnet.prefixlen}", "eth0"))
            addresses[subnet.version] = IPNetwork(f"{theirs}/{subnet.prefixlen}")
        return Outside(sandbox, addresses)

    def _behind(self, link: str, number: int, *, bridge: str = "") -> Behind:
        sandbox = self._sandbox()
        run(
            "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", sandbox.path
        )
        if bridge:
            run("ip", "link", "set", link, "master", bridge)
        holder = bridge or link
        gateways, addresses = {}, {}
        sandbox.run("ip", "link", "set", "eth0", "up")
        for each in (holder, link):
            run("ip", "link", "set", each, "up")
        for subnet in (IPNetwork(f"10.66.{number}.0/24"), IPNetwork(f"fd66:{number:x}::/64")):
            run(*_address(f"{subnet[1]}/{subnet.prefixlen}", holder))
            sandbox.run(*_address(f"{subnet[2]}/{subnet.prefixlen}", "eth0"))
            sandbox.run("ip", "route", "add", "default", "via", str(subnet[1]))
            gateways[subnet.version] = subnet[1]
            addresses[subnet.version] = IPNetwork(f"{subnet[2]}/{subnet.prefixlen}")
        return Behind(sandbox, addresses, holder, gateways)

    def _plug(self, link: str, sandbox: Sandbox, *, bridge: str = "") -> None:
        far = ("peer", "name", "eth0", "netns", sandbox.path)
        run("ip", "link", "add", link, "type", "veth", *far)
        if bridge:
            run("ip", "link", "set", link, "master", bridge)
            run("ip", "link", "set", bridge, "up")
        run("ip", "link", "set", link, "up")
        sandbox.run("ip", "link", "set", "eth0", "up")

    def _sandbox(self) -> Sandbox:
        sandbox = self._stack.enter_context(Sandbox())
        sandbox.run(*_AT_ONCE)
        return sandbox


def plan(*networks: Behind, outside_bridges: tuple[str, ...] = ()) -> FirewallPlan:
    """A plan with those networks."""
    return FirewallPlan(
        gateways=tuple(each.rules() for each in networks), outside_bridges=outside_bridges
    )


def sysctl(path: str) -> str:
    """Read a switch of the calling thread's namespace; empty if it does not exist."""
    file = Path("/proc/sys") / path
    return file.read_text().strip() if file.exists() else ""


def set_sysctl(path: str, value: str) -> None:
    """Set a switch of the calling thread's namespace."""
    (Path("/proc/sys") / path).write_text(value)


def switch_all_on() -> None:
    """Make the namespace a router, as an administrator does."""
    set_sysctl("net/ipv4/ip_forward", "1")
    set_sysctl("net/ipv6/conf/all/forwarding", "1")


def nft(*words: str) -> str:
    """Run ``nft``."""
    return run("nft", *words)


def ruleset() -> object:
    """All of nftables, comparable."""
    found = json.loads(run("nft", "-j", "-s", "list", "ruleset"))["nftables"]
    return [each for each in found if "metainfo" not in each]


def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Whether the condition comes true in time."""
    end = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _address(address: str, link: str) -> tuple[str, ...]:
    nodad = ("nodad",) if ":" in address else ()
    return ("ip", "address", "add", address, "dev", link, *nodad)
