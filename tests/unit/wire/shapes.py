"""What dockerd's Go types take of an answer, by call: member, JSON type, whether it must be there.

A wrong type fails a call after the plugin has done its work (Go's JSON), so nothing else may be in
an answer than is listed here.
"""

import re
from collections.abc import Callable, Mapping

Check = Callable[[object], bool]

_CIDR = re.compile(r"[0-9a-f.:]+/[0-9]+")
_ADDRESS = re.compile(r"[0-9a-f.:]+")
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


def _text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _truth(value: object) -> bool:
    return isinstance(value, bool)


def _texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _matching(pattern: re.Pattern[str]) -> Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _kinds(value: object) -> bool:
    return isinstance(value, list) and set(value) <= {"NetworkDriver", "IpamDriver"} and value != []


def _scope(value: object) -> bool:
    return value in ("local", "global")


def _interface(value: object) -> bool:
    return isinstance(value, dict) and all(
        name == "MacAddress" and _matching(_MAC)(text) for name, text in value.items()
    )


def _interface_name(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"SrcName", "DstPrefix"}
        and all(_text(text) and len(text) <= 15 for text in value.values())
    )


def _map(value: object) -> bool:
    return isinstance(value, dict)


NEEDED: Mapping[str, Mapping[str, Check]] = {
    "Plugin.Activate": {"Implements": _kinds},
    "NetworkDriver.GetCapabilities": {"Scope": _scope},
    "NetworkDriver.GwAllocCheck": {"SkipIPv4": _truth, "SkipIPv6": _truth},
    "NetworkDriver.AllocateNetwork": {"Options": _texts},
    "NetworkDriver.FreeNetwork": {},
    "NetworkDriver.CreateNetwork": {},
    "NetworkDriver.DeleteNetwork": {},
    "NetworkDriver.CreateEndpoint": {},
    "NetworkDriver.DeleteEndpoint": {},
    "NetworkDriver.EndpointOperInfo": {"Value": _map},
    "NetworkDriver.Join": {"InterfaceName": _interface_name},
    "NetworkDriver.Leave": {},
    "NetworkDriver.ProgramExternalConnectivity": {},
    "NetworkDriver.RevokeExternalConnectivity": {},
    "NetworkDriver.DiscoverNew": {},
    "NetworkDriver.DiscoverDelete": {},
    "IpamDriver.GetCapabilities": {},
    "IpamDriver.GetDefaultAddressSpaces": {
        "LocalDefaultAddressSpace": _text,
        "GlobalDefaultAddressSpace": _text,
    },
    "IpamDriver.RequestPool": {"PoolID": _text, "Pool": _matching(_CIDR)},
    "IpamDriver.ReleasePool": {},
    "IpamDriver.RequestAddress": {"Address": _matching(_CIDR)},
    "IpamDriver.ReleaseAddress": {},
}

ALLOWED: Mapping[str, Mapping[str, Check]] = {
    "NetworkDriver.GetCapabilities": {"ConnectivityScope": _scope, "GwAllocChecker": _truth},
    "NetworkDriver.CreateEndpoint": {"Interface": _interface},
    "NetworkDriver.Join": {
        "Gateway": _matching(_ADDRESS),
        "GatewayIPv6": _matching(_ADDRESS),
        "DisableGatewayService": _truth,
    },
    "IpamDriver.GetCapabilities": {"RequiresRequestReplay": _truth},
    "IpamDriver.RequestPool": {"Data": _texts},
    "IpamDriver.RequestAddress": {"Data": _texts},
}
"""``RequiresMACAddress`` is not allowed: dockerd would make up MACs and then forbid ours."""


def assert_well_formed(call: str, answer: Mapping[str, object]) -> None:
    """Assert that dockerd can read ``answer`` and finds in it all that it needs."""
    needed = NEEDED[call]
    known = {**needed, **ALLOWED.get(call, {})}
    assert set(needed) <= set(answer), f"{call}: {sorted(set(needed) - set(answer))} missing"
    for member, value in answer.items():
        assert member in known, f"{call}: {member} means nothing to dockerd, or the wrong thing"
        assert known[member](value), f"{call}: {member}={value!r}"
