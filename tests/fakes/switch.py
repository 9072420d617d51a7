"""A switch in memory. tests/contract/test_switch.py holds it to what Open vSwitch does."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.segments import Datapath
from ovsdriver.domain.wires.mirroring import Mirror
from ovsdriver.domain.wires.observed import ObservedBridge, ObservedMirror, ObservedPort
from ovsdriver.domain.wires.plumbing import Bridge, Port, UplinkPort
from ovsdriver.errors import ConflictError, InvalidOptionError, UnavailableError
from ovsdriver.ports import SwitchStatus


class FakeSwitch:
    """Fulfils ``ovsdriver.ports.Switch``; what tests set stands on top."""

    def __init__(self, owner: str = "ovsnet") -> None:
        self.available = True
        """False: the database does not answer."""
        self.absent: set[str] = set()
        """Devices that are not there to be plugged in."""
        self.other_config: dict[str, str] = {}
        """Of the whole switch."""
        self.system_id = ""
        self.integration = ""
        """OVN's bridge here."""
        self.unbound: set[str] = set()
        """Ports that OVN does not take."""
        self.calls: list[str] = []
        """Every changing call, as ``ensure_port ovh…``, in order."""
        self._owner = owner
        self._bridges: dict[str, ObservedBridge] = {}
        self._ports: dict[str, ObservedPort] = {}
        self._callbacks: list[Callable[[Collection[EndpointId] | None], None]] = []
        self.connection_callbacks: list[Callable[[bool], None]] = []
        self.mirrored_by_others: set[str] = set()
        """Ports that mirrors of somebody else lead to."""
        self._mirrors: dict[str, tuple[Mirror, ...]] = {}
        self._numbers = iter(range(1, 1 << 16))

    def put_bridge(self, bridge: ObservedBridge) -> None:
        """Be somebody else who makes or changes a bridge; its ports are added one by one."""
        self._bridges[bridge.name] = replace(bridge, ports=())
        self._changed(bridge.owned)

    def put_port(self, port: ObservedPort) -> None:
        """Be somebody else who makes or changes a port."""
        before = self._ports.get(port.name, port)
        self._ports[port.name] = port
        self._changed(self._concerns_us(before) or self._concerns_us(port))

    def drop_port(self, name: str) -> None:
        """Be somebody else who removes a port."""
        port = self._ports.pop(name)
        self._changed(self._concerns_us(port), port)

    def drop_bridge(self, name: str) -> None:
        """Be somebody else who removes a bridge with all its ports."""
        gone = [port for port in self._ports.values() if port.bridge == name]
        for port in gone:
            del self._ports[port.name]
        self._changed(self._bridges.pop(name).owned or any(map(self._is_ours, gone)))

    def status(self) -> SwitchStatus:
        if not self.available:
            return SwitchStatus(connected=False)
        return SwitchStatus(
            connected=True,
            version="3.5.0",
            datapath_types=("netdev", "system"),
            other_config=self.other_config,
            system_id=self.system_id,
            integration=self.integration,
        )

    def bridges(self) -> Mapping[str, ObservedBridge]:
        if not self.available:
            return {}
        return {
            name: replace(
                self._mirrored(bridge),
                ports=tuple(
                    sorted(
                        (port for port in self._ports.values() if port.bridge == name),
                        key=lambda port: port.name,
                    )
                ),
            )
            for name, bridge in sorted(self._bridges.items())
        }

    def bridge(self, name: str) -> ObservedBridge | None:
        bridge = self._bridges.get(name) if self.available else None
        return self._mirrored(bridge) if bridge is not None else None

    def _mirrored(self, bridge: ObservedBridge) -> ObservedBridge:
        return replace(
            bridge, mirrors=tuple(map(self._observed, self._mirrors.get(bridge.name, ())))
        )

    def _observed(self, mirror: Mirror) -> ObservedMirror:
        ports = tuple(sorted(each for each in mirror.ports if each in self._ports))
        return ObservedMirror(
            name=mirror.name,
            output=mirror.output if mirror.output in self._ports else "",
            vlans=() if mirror.vlan is None else (mirror.vlan,),
            everything=not mirror.ports,
            sources=ports,
            destinations=ports,
            external_ids={**mirror.external_ids, names.OWNER_KEY: self._owner},
        )

    def port(self, name: str) -> ObservedPort | None:
        return self._ports.get(name) if self.available else None

    def on_change(self, callback: Callable[[Collection[EndpointId] | None], None]) -> None:
        self._callbacks.append(callback)

    def on_connection(self, callback: Callable[[bool], None]) -> None:
        self.connection_callbacks.append(callback)

    async def connected(self, timeout_s: float) -> None:
        self._answer()

    async def bound(self, port: str, timeout_s: float) -> None:
        self._answer()
        if port not in self._ports or port in self.unbound:
            raise UnavailableError(f"OVN has not taken port {port} within {timeout_s:g} s")

    async def ensure_bridge(self, bridge: Bridge) -> None:
        self._check_name(bridge.name)
        self._called("ensure_bridge", bridge.name)
        present = self._bridges.get(bridge.name)
        if bridge.name in self._ports or (present is not None and not present.owned):
            raise ConflictError(f"ovsnet did not make bridge {bridge.name}")
        if present is not None and present.datapath is not bridge.datapath:
            raise ConflictError(f"bridge {bridge.name} has the {present.datapath} datapath")
        self._bridges[bridge.name] = ObservedBridge(
            name=bridge.name,
            datapath=bridge.datapath,
            owned=True,
            fail_mode=bridge.features.fail_mode or "standalone",
            controllers=len(bridge.features.controllers),
            features=bridge.features,
            rstp=bool(bridge.features.rstp),
            local_tag=4095 if bridge.host is None else 0,
            external_ids={**bridge.external_ids, names.OWNER_KEY: self._owner},
        )
        self._changed(True)

    async def remove_bridge(self, name: str) -> bool:
        self._called("remove_bridge", name)
        bridge = self._bridges.get(name)
        ports = [port for port in self._ports.values() if port.bridge == name]
        if bridge is None or not bridge.owned or not all(map(self._is_ours, ports)):
            return False
        self.drop_bridge(name)
        return True

    async def ensure_port(self, port: Port) -> None:
        self._check_name(port.name)
        _check(port)
        self._called("ensure_port", port.name)
        if port.bridge not in self._bridges:
            raise UnavailableError(f"no bridge {port.bridge}")
        present = self._ports.get(port.name)
        if port.name in self._bridges or (present is not None and not self._is_ours(present)):
            raise ConflictError(f"ovsnet did not make port {port.name}")
        if port.name in self.absent and not port.internal:
            raise UnavailableError(f"could not open network device {port.name} (No such device)")
        number = self._number(port, present)
        self._ports[port.name] = ObservedPort(
            name=port.name,
            bridge=port.bridge,
            **_plugged(port),
            ofport=number,
            ifindex=number,
            internal=port.internal,
            interfaces=(port.name,),
            external_ids={**port.external_ids, names.OWNER_KEY: self._owner},
        )
        self._changed(True, self._ports[port.name] if present is None else None)

    async def ensure_patch(self, ends: tuple[Port, Port]) -> None:
        for port, peer in (ends, ends[::-1]):
            self._check_name(port.name)
            _check(port)
            if port.bridge not in self._bridges:
                raise UnavailableError(f"no bridge {port.bridge}")
            present = self._ports.get(port.name)
            if port.name in self._bridges or (present is not None and not self._is_ours(present)):
                raise ConflictError(f"ovsnet did not make port {port.name}")
            if (port.peer, peer.peer) != (peer.name, port.name):
                raise UnavailableError(f"no usable peer {port.peer}")
        self._called("ensure_patch", " ".join(each.name for each in ends))
        for port in ends:
            self._ports[port.name] = ObservedPort(
                name=port.name,
                bridge=port.bridge,
                **_plugged(port),
                ofport=self._number(port, self._ports.get(port.name)),
                ifindex=0,
                interfaces=(port.name,),
                peer=port.peer,
                external_ids={**port.external_ids, names.OWNER_KEY: self._owner},
            )
        self._changed(True)

    async def ensure_uplink(self, port: UplinkPort, *, awaited: bool = True) -> None:
        for name in (port.name, *port.nics):
            self._check_name(name)
        if not port.trunks or not all(0 <= tag <= 4094 for tag in port.trunks):
            raise InvalidOptionError(f"uplink {port.name}: {port.trunks} are not VLANs")
        self._called("ensure_uplink", port.name)
        if port.bridge not in self._bridges:
            raise UnavailableError(f"no bridge {port.bridge}")
        present = self._ports.get(port.name)
        if port.name in self._bridges or (present is not None and not self._is_ours(present)):
            raise ConflictError(f"ovsnet did not make port {port.name}")
        for nic in port.nics:
            if any(
                nic in each.interfaces and each.name != port.name for each in self._ports.values()
            ):
                raise ConflictError(f"NIC {nic} is in another port")
            if nic in self.absent and awaited:
                raise UnavailableError(f"could not open network device {nic} (No such device)")
        number = next(self._numbers)
        self._ports[port.name] = ObservedPort(
            name=port.name,
            bridge=port.bridge,
            **_led_out(port),
            ofport=number,
            ifindex=number,
            interfaces=tuple(sorted(port.nics)),
            external_ids={**port.external_ids, names.OWNER_KEY: self._owner},
        )
        self._changed(True)

    async def ensure_mirrors(self, bridge: str, mirrors: Sequence[Mirror]) -> bool:
        self._called("ensure_mirrors", bridge)
        if bridge not in self._bridges:
            if not mirrors:
                return False
            raise UnavailableError(f"no bridge {bridge}")
        for each in mirrors:
            if each.output not in self._ports:
                raise UnavailableError(f"no port {each.output}")
            if each.ports and self._ports.keys().isdisjoint(each.ports):
                raise UnavailableError(f"no port {each.ports}")
            if each.output in self.mirrored_by_others:
                raise ConflictError(f"a mirror of others leads to {each.output}")
        before = self._mirrors.get(bridge, ())
        self._mirrors[bridge] = tuple(sorted(mirrors, key=lambda each: each.name))
        if set(map(_mirror_text, before)) == set(map(_mirror_text, mirrors)):
            return False
        self._changed(True)
        return True

    async def change_ports(self, ports: Sequence[Port | UplinkPort]) -> bool:
        for port in ports:
            if isinstance(port, Port):
                _check(port)
        self._called("change_ports", " ".join(each.name for each in ports))
        changed = {}
        for port in ports:
            present = self._ports.get(port.name)
            if present is None or not self._is_ours(present) or present.bridge != port.bridge:
                continue
            if isinstance(port, UplinkPort):
                changed[port.name] = replace(present, **_led_out(port))
            elif present.internal is port.internal:
                number = self._number(port, present) if port.ofport else present.ofport
                changed[port.name] = replace(present, **_plugged(port), ofport=number)
        if all(self._ports[name] == port for name, port in changed.items()):
            return False
        self._ports |= changed
        self._changed(True)
        return True

    async def remove_port(self, name: str) -> bool:
        self._called("remove_port", name)
        port = self._ports.get(name)
        if port is None or not self._is_ours(port):
            return False
        self.drop_port(name)
        return True

    def _number(self, port: Port, present: ObservedPort | None) -> int:
        others = [
            each.ofport
            for each in self._ports.values()
            if each.bridge == port.bridge and each.name != port.name
        ]
        if port.ofport is not None and port.ofport in others:
            raise ConflictError(f"ovs.ofport={port.ofport}: another port has it")
        if port.moves and present is not None and present.ofport is not None:
            return present.ofport
        return port.ofport or next(each for each in self._numbers if each not in others)

    def _is_ours(self, port: ObservedPort) -> bool:
        return port.external_ids.get(names.OWNER_KEY) == self._owner

    def _concerns_us(self, port: ObservedPort) -> bool:
        bridge = self._bridges.get(port.bridge)
        return (
            self._is_ours(port)
            or (bridge is not None and bridge.owned)
            or any(
                self._is_ours(each) for each in self._ports.values() if each.bridge == port.bridge
            )
        )

    def _check_name(self, name: str) -> None:
        if not 0 < len(name) < 16 or "/" in name or " " in name:
            raise InvalidOptionError(f"{name!r} cannot be a device's name")

    def _called(self, method: str, name: str) -> None:
        self._answer()
        self.calls.append(f"{method} {name}")

    def _answer(self) -> None:
        if not self.available:
            raise UnavailableError("Open vSwitch's database does not answer")

    def _changed(self, ours: bool, plugged: ObservedPort | None = None) -> None:
        """Tell of a change; ``plugged`` is a port that came or went, if that was all."""
        endpoint = plugged.external_ids.get(names.ENDPOINT_KEY) if plugged is not None else None
        told = frozenset({EndpointId(endpoint)}) if endpoint is not None else None
        for callback in self._callbacks if ours else ():
            asyncio.get_running_loop().call_soon(callback, told)


def foreign_bridge(name: str, datapath: Datapath = Datapath.NETDEV) -> ObservedBridge:
    """Return a bridge of somebody else, for ``put_bridge``."""
    return ObservedBridge(name=name, datapath=datapath, owned=False)


def _mirror_text(mirror: Mirror) -> str:
    return f"{mirror.name} {mirror.output} {mirror.vlan} {mirror.ports}"


def _plugged(port: Port) -> dict[str, Any]:
    """Return the columns of a Port that can be changed."""
    return {
        "tag": port.tag,
        "vlan_mode": port.vlan_mode.value,
        "trunks": port.trunks,
        "cvlans": port.cvlans,
        "protected": port.protected,
        "tree": port.tree is not False,
    }


def _led_out(port: UplinkPort) -> dict[str, Any]:
    """Return the same of an uplink's."""
    return {
        "tag": None,
        "vlan_mode": "trunk",
        "trunks": port.trunks,
        "bond_mode": port.bond.value if port.bond else "",
        "lacp": port.lacp.value if port.bond else "",
    }


def _check(port: Port) -> None:
    highest = 4095 if port.external_ids.get(names.PURPOSE_KEY) == names.MIRROR else 4094
    if port.tag is not None and not 0 <= port.tag <= highest:
        raise InvalidOptionError(f"port {port.name}: VLAN tag {port.tag} is not 0 to 4094")
    says_tag, says_trunks = port.tag is not None, bool(port.trunks)
    if (says_tag, says_trunks) != (port.vlan_mode.has_tag, port.vlan_mode.has_trunks):
        raise InvalidOptionError(f"port {port.name}: it does not say which VLANs it carries")
    lowest = 0 if port.tag == 0 or port.peer else 1
    if not all(lowest <= vlan <= 4094 for vlan in port.trunks):
        raise InvalidOptionError(f"port {port.name}: trunked VLANs are 1 to 4094")
    if port.ofport is not None and not 1 <= port.ofport <= 65279:
        raise InvalidOptionError(f"port {port.name}: OpenFlow port {port.ofport}")
