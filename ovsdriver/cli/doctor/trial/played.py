"""Docker, played over the plugin sockets: its calls in their order, namespaces for containers.

The calls are those of Engine 26; 29 differs in what a plugin does not see here.
"""

import json
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from netaddr import EUI, IPAddress, IPNetwork

from ipam import DEFAULT_SPACE
from ovsdriver.admin import asks
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.doctor.trial import left, rooms
from ovsdriver.cli.doctor.trial.stage import (
    IPAM_OPTIONS,
    NETWORK_OPTIONS,
    Container,
    Network,
    RefusedError,
    Subnet,
    on_free_subnets,
)
from ovsdriver.config import Settings

_TIMEOUT_S = 30.0
"""As long as dockerd waits for one call, about."""
_GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}
_ENDPOINT = "com.docker.network.endpoint"
_TCP = 6
_ID_DIGITS = 64


class _Plugin(HTTPConnection):
    """A plugin's socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("plugin.moby.localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class PlayedDocker:
    """A :class:`Stage` without Docker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._networks: list[Network] = []
        self._containers: list[Container] = []

    def network(self, name: str, *, families: Sequence[int]) -> Network:
        return on_free_subnets(families, partial(self._made, name))

    def container(
        self,
        name: str,
        network: Network,
        *,
        options: Mapping[str, str] | None = None,
        ports: Mapping[int, int] | None = None,
    ) -> Container:
        held: list[tuple[str, IPAddress]] = []
        endpoint = _new_id()
        place = {"NetworkID": network.id, "EndpointID": endpoint}
        path = ""
        try:
            addresses = []
            for subnet in network.subnets:
                if subnet.pool:
                    found = self._address(subnet.pool, "", None)
                    held.append((subnet.pool, found.ip))
                    addresses.append(found)
            by_family = {each.version: str(each) for each in addresses}
            published = _published(ports or {})
            interface = {
                "Address": by_family.get(4, ""),
                "AddressIPv6": by_family.get(6, ""),
                "MacAddress": "",
            }
            body = {**place, "Interface": interface, "Options": {**(options or {}), **published}}
            mac = EUI(self._driver("CreateEndpoint", body)["Interface"]["MacAddress"])
            path = rooms.make(endpoint[len(left.MARK) : 12])
            joined = self._driver("Join", {**place, "SandboxKey": path, "Options": published})
            link = f"{joined['InterfaceName']['DstPrefix']}0"
            gateways = [joined.get("Gateway"), joined.get("GatewayIPv6")]
            rooms.move_in(
                path,
                joined["InterfaceName"]["SrcName"],
                name=link,
                mac=mac,
                addresses=addresses,
                gateways=[IPAddress(each) for each in gateways if each],
            )
            if any(gateways):
                self._driver("ProgramExternalConnectivity", {**place, "Options": published})
        except (RefusedError, OSError) as error:
            self._end(place, path, held)
            raise RefusedError(str(error)) from error
        made = Container(
            name=name,
            network=network,
            room=rooms.Room(path),
            link=link,
            mac=mac,
            addresses=addresses,
            endpoint=endpoint,
            held=held,
        )
        self._containers.append(made)
        return made

    def remove(self, container: Container) -> None:
        place = {"NetworkID": container.network.id, "EndpointID": container.endpoint}
        with suppress(RefusedError):
            self._driver("RevokeExternalConnectivity", place)
        self._end(place, container.room.path or "", container.held)
        self._containers.remove(container)

    def clear(self) -> None:
        for container in list(self._containers):
            self.remove(container)
        for network in list(self._networks):
            self._release(network.subnets)
            with suppress(RefusedError):
                self._driver("DeleteNetwork", {"NetworkID": network.id})
            self._networks.remove(network)
        self._clear_earlier()

    @property
    def name_server(self) -> str:
        # dockerd's own is not there: it would ask the host's, from inside of the container.
        return ""

    def _clear_earlier(self) -> None:
        """Remove what trials left that were killed."""
        pools = {
            each.network.id: {str(subnet.pool): subnet.cidr for subnet in each.network.subnets}
            for each in ask(self._settings, asks.ShowState()).networks
        }
        for each in left.endpoints(self._settings):
            endpoint = each.endpoint
            place = {"NetworkID": str(endpoint.network), "EndpointID": str(endpoint.id)}
            held = [
                (pool, address.ip)
                for address in endpoint.addresses
                for pool, cidr in pools.get(endpoint.network, {}).items()
                if address.ip in cidr
            ]
            self._end(place, "", held)
        for report in left.networks(self._settings):
            ask(self._settings, asks.RemoveNetwork(name=str(report.network.id), force=True))
        left.remove_pools(self._settings)
        left.remove_rooms()

    def _made(self, name: str, chosen: Sequence[IPNetwork]) -> Network:
        held: list[Subnet] = []
        network_id = _new_id()
        try:
            for cidr in chosen:
                held.append(self._subnet(cidr))
            self._driver("CreateNetwork", _network_body(network_id, held))
        except RefusedError:
            self._release(held)
            raise
        made = Network(id=network_id, name=name, subnets=held)
        self._networks.append(made)
        return made

    def _subnet(self, cidr: IPNetwork) -> Subnet:
        spaces = self._ipam("GetDefaultAddressSpaces", None)
        body = {
            "AddressSpace": spaces["LocalDefaultAddressSpace"],
            "Pool": str(cidr),
            "SubPool": "",
            "Options": dict(IPAM_OPTIONS),
            "V6": cidr.version == 6,
        }
        pool = str(self._ipam("RequestPool", body)["PoolID"])
        try:
            gateway = self._address(pool, "", _GATEWAY)
        except RefusedError:
            self._release([Subnet(cidr=cidr, gateway=None, pool=pool)])
            raise
        return Subnet(cidr=cidr, gateway=gateway.ip, pool=pool)

    def _address(self, pool: str, wanted: str, options: Mapping[str, str] | None) -> IPNetwork:
        body = {"PoolID": pool, "Address": wanted, "Options": options}
        return IPNetwork(self._ipam("RequestAddress", body)["Address"])

    def _end(
        self, place: Mapping[str, str], path: str, held: Sequence[tuple[str, IPAddress]]
    ) -> None:
        """End an endpoint, as far as it got; what is refused stays for the next trial."""
        with suppress(RefusedError):
            self._driver("Leave", place)
        if path:
            rooms.remove(Path(path))
        with suppress(RefusedError):
            self._driver("DeleteEndpoint", place)
        for pool, address in held:
            with suppress(RefusedError):
                self._ipam("ReleaseAddress", {"PoolID": pool, "Address": str(address)})

    def _release(self, given: Sequence[Subnet]) -> None:
        for each in given:
            for call, body in (
                ("ReleaseAddress", {"PoolID": each.pool, "Address": str(each.gateway or "")}),
                ("ReleasePool", {"PoolID": each.pool}),
            ):
                with suppress(RefusedError):
                    self._ipam(call, body)

    def _driver(self, call: str, body: Any) -> Any:
        return self._call("ovsnet", f"NetworkDriver.{call}", body)

    def _ipam(self, call: str, body: Any) -> Any:
        return self._call("ovsipam", f"IpamDriver.{call}", body)

    def _call(self, plugin: str, call: str, body: Any) -> Any:
        connection = _Plugin(self._settings.plugin_dir / f"{plugin}.sock")
        try:
            said = b"" if body is None else json.dumps(body).encode() + b"\n"
            connection.request("POST", f"/{call}", said)
            found = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError) as error:
            raise RefusedError(f"{call} over {plugin}.sock: {error}") from error
        finally:
            connection.close()
        if why := found.get("Err") or found.get("Error"):
            raise RefusedError(f"{call}: {why}")
        return found


def _new_id() -> str:
    """Return an id like Docker's, with the mark."""
    return f"{left.MARK}{secrets.token_hex(_ID_DIGITS // 2)}"[:_ID_DIGITS]


def _network_body(network_id: str, given: Sequence[Subnet]) -> Mapping[str, object]:
    def data(family: int) -> list[dict[str, str]]:
        return [
            {
                "AddressSpace": DEFAULT_SPACE,
                "Pool": str(each.cidr),
                "Gateway": f"{each.gateway}/{each.cidr.prefixlen}",
            }
            for each in given
            if each.cidr.version == family
        ]

    return {
        "NetworkID": network_id,
        "Options": {
            "com.docker.network.enable_ipv6": any(each.cidr.version == 6 for each in given),
            "com.docker.network.generic": dict(NETWORK_OPTIONS),
        },
        "IPv4Data": data(4),
        "IPv6Data": data(6),
    }


def _published(ports: Mapping[int, int]) -> Mapping[str, object]:
    """Return what ``-p`` puts into the options of calls."""
    return {
        f"{_ENDPOINT}.exposedports": [{"Proto": _TCP, "Port": inner} for inner in ports.values()],
        "com.docker.network.portmap": [
            {"Proto": _TCP, "IP": "", "Port": inner, "HostIP": ""}
            | {"HostPort": outer, "HostPortEnd": outer}
            for outer, inner in ports.items()
        ],
    }
