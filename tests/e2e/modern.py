"""What an engine of version 29 does with the plugin that the bed's own engine, of 26, cannot.

Networks without IPv4, and containers whose ways out of IPv4 and IPv6 lead over two networks. The
calls are those of the recorded conversations (``tests/wire/v29-…``); what dockerd does with the
answers is done here with ``ip``: it moves the link into the container, and gives it addresses,
without detection of duplicates, and routes.
"""

import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.e2e.bed import Bed
from tests.e2e.traffic import ECHO, Place
from tests.e2e.wire import Wire
from tests.e2e.world import Program

ENDS = ("RevokeExternalConnectivity", "Leave", "DeleteEndpoint")
"""The calls by which an endpoint ends, in their order."""

_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NETWORK = "com.docker.network"


class ModernNetwork:
    """A network, made and removed as engine 29 does."""

    def __init__(
        self, engine: "ModernEngine", *subnets: str, internal: bool = False, **options: str
    ) -> None:
        self.id = secrets.token_hex(32)
        self._engine = engine
        self._pools = {}
        data: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
        said = {
            f"{_NETWORK}.enable_ipv4": any(":" not in subnet for subnet in subnets),
            f"{_NETWORK}.enable_ipv6": any(":" in subnet for subnet in subnets),
            f"{_NETWORK}.generic": {k.replace("__", "."): v for k, v in options.items()},
            **({f"{_NETWORK}.internal": True} if internal else {}),
        }
        skips = engine.network_call("GwAllocCheck", {"Options": said})
        space, _ = engine.ipam.spaces()
        for subnet in subnets:
            pool = engine.ipam.pool(subnet)
            described = {"AddressSpace": space, "AuxAddresses": {}, "Pool": subnet}
            gateway = ""
            if not skips["SkipIPv6" if ":" in subnet else "SkipIPv4"]:
                gateway = engine.ipam.address(pool, gateway=True)
                described["Gateway"] = f"{gateway}/{subnet.partition('/')[2]}"
            self._pools[":" in subnet] = (pool, subnet, gateway)
            data[":" in subnet].append(described)
        body = {
            "NetworkID": self.id,
            "Options": said,
            "IPv4Data": data[False],
            "IPv6Data": data[True],
        }
        engine.network_call("CreateNetwork", body)

    def gateway(self, family: int) -> str:
        """Return the gateway's address; empty if the plugin said that none is needed."""
        return self._pools[family == 6][2]

    def request(self, name: str, *wanted: str) -> Mapping[int, tuple[str, str]]:
        """Return an address of each family for a container: alone, and with its prefix length.

        ``wanted`` are those behind ``--ip`` and ``--ip6``.
        """
        found = {}
        for six, (pool, subnet, _) in sorted(self._pools.items()):
            typed = next((each for each in wanted if (":" in each) == six), "")
            address = self._engine.ipam.address(pool, typed, name=name)
            found[6 if six else 4] = (address, f"{address}/{subnet.partition('/')[2]}")
        return found

    def release(self, addresses: Mapping[int, tuple[str, str]]) -> None:
        """Give a container's addresses back."""
        for family, (address, _) in addresses.items():
            self._engine.ipam.release_address(self._pools[family == 6][0], address)

    def refusal(self, name: str, wanted: str = "") -> str:
        """Ask for an address of a container, which must fail; return the sentence."""
        return self._engine.ipam.refusal(self._pools[":" in wanted][0], wanted, name=name)

    def remove(self) -> None:
        """Do what ``docker network rm`` does."""
        for pool, _, gateway in self._pools.values():
            if gateway:
                self._engine.ipam.release_address(pool, gateway)
            self._engine.ipam.release_pool(pool)
        self._engine.network_call("DeleteNetwork", {"NetworkID": self.id})


class ModernContainer(Place):
    """A namespace on networks, with a server in it that says who it is and whom it sees."""

    def __init__(self, engine: "ModernEngine", name: str, ports: Sequence[str] = ()) -> None:
        self._engine = engine
        super().__init__(engine.bed, name, engine.bed.add_namespace(name))
        self._options = {
            f"{_NETWORK}.endpoint.exposedports": [],
            f"{_NETWORK}.portmap": [_mapping(each) for each in ports],
        }
        self._endpoints: dict[str, tuple[ModernNetwork, Mapping[int, tuple[str, str]], str]] = {}
        self._server: Program | None = None
        self.gateways: Mapping[int, str] = {}
        """Of the network that it was put on last, as the plugin told them."""
        self.ended = False

    def connect(self, network: ModernNetwork, **said: str) -> str:
        """Put it on a network and return the endpoint's id; options have ``__`` for a dot."""
        bed, endpoint = self._engine.bed, secrets.token_hex(32)
        addresses = network.request(self.name)
        both = {"NetworkID": network.id, "EndpointID": endpoint}
        interface = {
            "Address": addresses.get(4, ("", ""))[1],
            "AddressIPv6": addresses.get(6, ("", ""))[1],
            "MacAddress": "",
        }
        options = self._options | {k.replace("__", "."): v for k, v in said.items()}
        created = self._engine.network_call(
            "CreateEndpoint", {**both, "Interface": interface, "Options": options}
        )
        joined = self._engine.network_call(
            "Join", {**both, "SandboxKey": self.netns, "Options": options}
        )
        named = joined["InterfaceName"]
        inside = named.get("DstName") or f"{named['DstPrefix']}{len(self._endpoints)}"
        source = named["SrcName"]
        bed.ip("link", "set", source, "netns", self.name, "name", inside)
        mac = created["Interface"]["MacAddress"]
        bed.ip("link", "set", inside, "address", mac, netns=self.netns)
        for family, (_, prefixed) in addresses.items():
            nodad = ("nodad",) if family == 6 else ()
            bed.ip("address", "add", prefixed, "dev", inside, *nodad, netns=self.netns)
        bed.ip("link", "set", inside, "up", netns=self.netns)
        self._endpoints[endpoint] = (network, addresses, inside)
        self.gateways = {4: joined.get("Gateway", ""), 6: joined.get("GatewayIPv6", "")}
        return endpoint

    def address(self, family: int) -> str:
        """Return its address on the network that it was put on last."""
        _, addresses, _ = list(self._endpoints.values())[-1]
        return addresses[family][0]

    def leave_by(self, endpoint: str, *families: int, other6: bool = False) -> None:
        """Make an endpoint the container's way out, as engine 29 says to the plugin."""
        network, _, inside = self._endpoints[endpoint]
        for family in families:
            way = ("default", "via", network.gateway(family), "dev", inside)
            self._engine.bed.ip(f"-{family}", "route", "replace", *way, netns=self.netns)
        self.program(endpoint, other6=other6)

    def program(self, endpoint: str, *, other6: bool = False) -> None:
        """ProgramExternalConnectivity, which may come twice."""
        network, _, _ = self._endpoints[endpoint]
        told = {f"{_NETWORK}.driver.private.no_proxy_6to4": True} if other6 else {}
        self._engine.network_call(
            "ProgramExternalConnectivity",
            {
                "NetworkID": network.id,
                "EndpointID": endpoint,
                "Options": self._options | told,
            },
        )

    def serve(self, *ports: int) -> None:
        """Answer on ports, over TCP and UDP."""
        said = (sys.executable, ECHO, "serve", *map(str, ports))
        host = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name, *said)
        self._server = Program(self._engine.bed, self.name, *host, netns=self.netns)
        self._server.start()

    def tell_end(self, endpoint: str, *calls: str) -> None:
        """Do some of the calls by which an endpoint ends, or all."""
        network, _, _ = self._endpoints[endpoint]
        both = {"NetworkID": network.id, "EndpointID": endpoint}
        for call in calls or ENDS:
            self._engine.network_call(call, both)

    def end(self, endpoints: Iterable[str] | None = None) -> None:
        """Take it off networks, all if none is named; then it is gone."""
        for endpoint in list(endpoints or self._endpoints):
            self.tell_end(endpoint)
            network, addresses, _ = self._endpoints.pop(endpoint)
            network.release(addresses)
        if not self._endpoints:
            if self._server is not None:
                self._server.stop()
                self._server.log.unlink()
            self._engine.bed.ip("netns", "del", self.name)
            self.ended = True


class ModernEngine:
    """The calls, and what they have made."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed
        self.ipam = Wire(bed)
        self._driver = Wire(bed, "ovsnet")
        self._networks: list[ModernNetwork] = []
        self._containers: list[ModernContainer] = []

    def network(self, *subnets: str, internal: bool = False, **options: str) -> ModernNetwork:
        """Create a network; options have ``__`` for a dot."""
        made = ModernNetwork(self, *subnets, internal=internal, **options)
        self._networks.append(made)
        return made

    def container(
        self, name: str, *networks: ModernNetwork, ports: Sequence[str] = ()
    ) -> ModernContainer:
        """Run a container that serves on ports 80 and 81.

        Its way out is its first network, as far as that tells it one.

        Args:
            name: also that of its namespace.
            networks: in this order.
            ports: as behind ``-p``, ``HOST-PORT:PORT/PROTOCOL``.
        """
        made = ModernContainer(self, name, ports)
        self._containers.append(made)
        for number, network in enumerate(networks):
            endpoint = made.connect(network)
            ways = [family for family, gateway in made.gateways.items() if gateway]
            if ways and not number:
                made.leave_by(endpoint, *ways)
        made.serve(80, 81)
        return made

    def network_call(self, name: str, body: object) -> Mapping[str, Any]:
        """Do a call of the network driver's, which must succeed."""
        answer = self._driver.call(f"NetworkDriver.{name}", body)
        assert not answer.get("Err"), f"{name}: {answer}"
        return answer

    def refusal(self, name: str, body: object) -> str:
        """Do a call of the network driver's, which must fail; return the sentence."""
        return str(self._driver.call(f"NetworkDriver.{name}", body)["Err"])

    def clear(self) -> None:
        """Take all down that is there."""
        for container in self._containers:
            if not container.ended:
                container.end()
        for network in self._networks:
            network.remove()


def _mapping(text: str) -> Mapping[str, Any]:
    host, _, rest = text.rpartition(":")
    port, _, protocol = rest.partition("/")
    address, _, host_port = host.rpartition(":")
    return {
        "Proto": _PROTOCOLS[protocol or "tcp"],
        "IP": "",
        "Port": int(port),
        "HostIP": address.strip("[]"),
        "HostPort": int(host_port or 0),
        "HostPortEnd": int(host_port or 0),
    }
