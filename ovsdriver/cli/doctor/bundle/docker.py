"""What Docker says of itself, of its networks and of who is on them: of each, what is named here.

Labels, environments, commands, mounts and proxies are anybody's, and are not asked for.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

_TIMEOUT_S = 4.0
_INFO = (
    *("ID", "ServerVersion", "Driver", "OperatingSystem", "KernelVersion", "Architecture"),
    *("CgroupDriver", "CgroupVersion", "LiveRestoreEnabled", "IPv4Forwarding", "Containers"),
    *("ContainersRunning", "FirewallBackend", "BridgeNfIptables", "BridgeNfIp6tables", "Warnings"),
)
_NETWORK = ("Id", "Name", "Created", "Scope", "Driver", "EnableIPv6", "Internal", "Attachable")
_ENDPOINT = (
    *("EndpointID", "NetworkID", "MacAddress", "IPAddress", "IPPrefixLen", "Gateway"),
    *("GlobalIPv6Address", "GlobalIPv6PrefixLen", "IPv6Gateway", "GwPriority"),
)
_OURS = ("ovs.", "ipam.", "com.docker.network.")
"""What options begin with that are shown with their values; of others, the name alone."""


async def look(address: str) -> Mapping[str, Any]:
    """Return what Docker says; aiohttp's errors and TimeoutError if it says nothing."""
    async with _session(address) as session:
        info = await _get(session, "/info")
        networks = await _get(session, "/networks")
        containers = await _get(session, "/containers/json?all=1")
    return {
        "info": _some(info, _INFO) | {"Plugins": (info.get("Plugins") or {}).get("Network")},
        "networks": [_network(each) for each in networks],
        "containers": [_container(each) for each in containers],
    }


async def text_of(address: str, path: str) -> str:
    """Return what a server on a socket has at a path, as text."""
    async with _session(address) as session, session.get(path) as response:
        return await response.text()


def _network(each: Mapping[str, Any]) -> Mapping[str, Any]:
    ipam = each.get("IPAM") or {}
    return {
        **_some(each, _NETWORK),
        "Options": _options(each.get("Options")),
        "IPAM": {
            "Driver": ipam.get("Driver"),
            "Options": _options(ipam.get("Options")),
            "Config": ipam.get("Config"),
        },
    }


def _container(each: Mapping[str, Any]) -> Mapping[str, Any]:
    networks = (each.get("NetworkSettings") or {}).get("Networks") or {}
    return {
        **_some(each, ("Id", "Names", "State", "Status", "Created", "Ports")),
        "Networks": {
            name: _some(of, _ENDPOINT) | {"DriverOpts": _options(of.get("DriverOpts"))}
            for name, of in networks.items()
        },
    }


def _options(said: Mapping[str, str] | None) -> Mapping[str, str]:
    return {
        key: value if key.startswith(_OURS) else "(not shown)"
        for key, value in (said or {}).items()
    }


def _some(of: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: of[name] for name in names if name in of}


async def _get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as response:
        return await response.json(content_type=None)


def _session(address: str) -> aiohttp.ClientSession:
    parts = urlsplit(address)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    if parts.scheme == "unix":
        return aiohttp.ClientSession(
            "http://docker",
            connector=aiohttp.UnixConnector(parts.path),
            timeout=timeout,
            raise_for_status=True,
        )
    return aiohttp.ClientSession(f"http://{parts.netloc}", timeout=timeout, raise_for_status=True)
