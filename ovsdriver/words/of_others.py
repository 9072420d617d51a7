"""What people type who come from other drivers: translated where it is certain, else refused. Pure.

Macvlan and ipvlan (``parent``, their modes), docker-net-dhcp (``bridge`` and others), Kathará.
"""

import re
from collections.abc import Mapping

from ovsdriver.errors import InvalidOptionError
from ovsdriver.words import values

_PARENT = re.compile(r"(.+)\.([0-9]+)")
"""Macvlan makes a link of this name for the VLAN of a NIC, where it is not there."""

_MODES = {"bridge": "true", "private": "false"}
"""Of macvlan, by what they are as ``ovs.icc``."""

_REFUSED = {
    "ipvlan_mode": "containers have a MAC of their own here, as with macvlan; leave it out",
    "ipvlan_flag": "write -o ovs.icc=false to keep containers apart, or leave it out",
    "ipv6": "Docker's own word says it: docker network create --ipv6",
    "lease_timeout": "addresses are ovsipam's, not a DHCP server's: name a part of the LAN with "
    "--subnet and --ip-range, and leave this out",
    "ignore_conflicts": "a bridge may be shared anyhow, each network in its VLAN; leave it out",
    "skip_routes": "containers get their gateway's route only, see ovs.gateway; leave it out",
}

LABELS = frozenset({"kathara.iface", "kathara.link", "kathara.machine"})
"""What Kathará writes down on endpoints; nothing is done about it."""


def of_network(typed: Mapping[str, str]) -> Mapping[str, str]:
    """Return the options of a network with ours in the place of others'.

    Raises:
        InvalidOptionError: one cannot be translated, and what to type instead; or what it means is
            typed, too.
    """
    found: dict[str, str] = {}
    for key, text in typed.items():
        for name, meant in _translated(key, text).items():
            if found.get(name, meant) != meant or typed.get(name, meant) != meant:
                raise InvalidOptionError(
                    f"{key}={text} means {name}={meant}, and {name} is typed as well; leave one of "
                    "them out"
                )
            found[name] = meant
    return found


def _translated(key: str, text: str) -> Mapping[str, str]:
    name = key.lower()
    if name in _REFUSED:
        raise InvalidOptionError(f"{key}: no option of a network here; {_REFUSED[name]}")
    if name == "bridge":
        raise InvalidOptionError(f"{key}: {_bridge(text)}")
    if name == "parent":
        parts = _PARENT.fullmatch(text)
        nic, vlan = (parts[1], parts[2]) if parts else (text, "none")
        return {"ovs.uplink": nic, "ovs.vlan": vlan}
    if name == "macvlan_mode":
        if text.lower() not in _MODES:
            raise InvalidOptionError(
                f"{key}: {values.quote(text)} cannot be had here, only bridge and private; write "
                "-o ovs.icc=true, or false to keep containers apart"
            )
        return {"ovs.icc": _MODES[text.lower()]}
    return {key: text}


def _bridge(text: str) -> str:
    try:
        bridge = values.link_name(text)
    except ValueError as error:
        return str(error)
    return (
        f"write -o ovs.bridge={bridge} for a bridge of Open vSwitch; of a Linux bridge, name the "
        "NIC: -o ovs.uplink=NIC -o ovs.vlan=none"
    )
