"""A recorded conversation of tests/wire, held again with the process itself, links and all.

The recorded answers were another plugin's. Where dockerd repeated one of them in a later call (the
id of a pool, a subnet, an address) it says ours instead. Containers are network namespaces; links
are moved as dockerd moves them.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPException
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from tests.e2e.bed import PLUGIN_DIR, Bed
from tests.e2e.wire import answer
from tests.faults.sandboxes import Sandboxes
from tests.unit.wire.conversation import Recorded, calls

GENERIC = "com.docker.network.generic"

STRANGE = frozenset(
    {"color", "Color", "flag", "recnet.alloc", "tier", "Tier", "vlan", "pool", "Pool", "seed", "a"}
    | {"b", "speed", "x"}
)
"""Options that the recordings' user typed for the plugin that was recorded."""

Said = dict[str, Any]


class Conversation:
    """It, up to the call that was held last."""

    def __init__(self, bed: Bed, recording: Path) -> None:
        self._bed = bed
        self._calls = calls(recording)
        self._ours: dict[str, str] = {}
        self._subnets: dict[IPv4Network | IPv6Network, IPv4Network | IPv6Network] = {}
        self._sandboxes = Sandboxes(bed)
        self._moved: dict[str, tuple[str, str]] = {}
        """Key of the sandbox and name of the link, by endpoint."""
        self._macs: dict[str, str] = {}
        self._cidrs: dict[str, list[str]] = {}
        self.networks: dict[str, list[Mapping[str, str]]] = {}
        """Subnets of the networks that were made and not removed."""
        self.endpoints: dict[str, str] = {}
        """The network of each that was made and not removed."""
        self.published: dict[str, set[int]] = {}
        """TCP ports of the host that each endpoint publishes."""

    def held(self) -> Iterator[tuple[Recorded, Said, Said]]:
        """Hold one call after the other; gives the call, its body as it was sent, the answer."""
        for call in self._calls:
            body = self._translated(call.body)
            if isinstance(body, dict):
                self._before(call.call, body)
            said = self.ask(call, body)
            if isinstance(call.answer, dict):
                self._learn(call.answer, said)
            if isinstance(body, dict) and not said.get("Err"):
                self._after(call.call, body, said)
            yield call, body if isinstance(body, dict) else {}, said

    def ask(self, call: Recorded, body: Any) -> Said:
        """Make a call; an answer that is cut off is an empty one."""
        driver = "ovsipam" if call.socket == "recipam" else "ovsnet"
        path = self._bed.outer_path(f"{PLUGIN_DIR}/{driver}.sock")
        raw = b"" if call.body is None else json.dumps(body).encode() + b"\n"
        try:
            found: Said = answer(path, "POST", f"/{call.call}", raw)
        except (OSError, HTTPException):
            return {}
        return found

    def end(self) -> None:
        """End what the recording did not, as a user does who removes networks by force."""
        self._sandboxes.remove_all()
        network_driver = self._bed.outer_path(f"{PLUGIN_DIR}/ovsnet.sock")
        ipam = self._bed.outer_path(f"{PLUGIN_DIR}/ovsipam.sock")

        def say(path: Path, call: str, **body: str) -> None:
            answer(path, "POST", f"/{call}", json.dumps(body).encode())

        for endpoint, network in self.endpoints.items():
            place = {"NetworkID": network, "EndpointID": endpoint}
            say(network_driver, "NetworkDriver.DeleteEndpoint", **place)
        for pool in {each for each in self._ours.values() if each.startswith("pool-")}:
            say(ipam, "IpamDriver.ReleasePool", PoolID=pool)
        for network in self.networks:
            say(network_driver, "NetworkDriver.DeleteNetwork", NetworkID=network)

    def _translated(self, value: Any, *, typed: bool = False) -> Any:
        """Put our answers in place of the recorded ones, and leave out what we know nothing of.

        Those are among what was ``typed`` alone: ``Pool`` is a member of Docker's own as well.
        """
        if isinstance(value, dict):
            return {
                k: self._translated(v, typed=typed or k == "Options")
                for k, v in value.items()
                if not (typed and k in STRANGE)
            }
        if isinstance(value, list):
            return [self._translated(each, typed=typed) for each in value]
        return self._replaced(value) if isinstance(value, str) else value

    def _replaced(self, text: str) -> str:
        if text in self._ours:
            return self._ours[text]
        with suppress(ValueError):  # an address that the user chose in a subnet that we chose
            address = ip_address(text)
            for theirs, ours in self._subnets.items():
                if address in theirs:
                    return str(ours[int(address) - int(theirs.network_address)])
        return text

    def _learn(self, recorded: Mapping[str, Any], said: Said) -> None:
        for member in ("PoolID", "Pool", "Address", "LocalDefaultAddressSpace"):
            theirs, ours = recorded.get(member), said.get(member)
            if isinstance(theirs, str) and isinstance(ours, str):
                self._ours[theirs] = ours
                if member == "Pool":  # which dockerd says in its own way later
                    subnet = ip_network(theirs)
                    self._ours[str(subnet)] = ours
                    self._subnets[subnet] = ip_network(ours)
                if member == "Address":  # later without its length
                    self._ours[theirs.partition("/")[0]] = ours.partition("/")[0]

    def _before(self, call: str, body: Said) -> None:
        endpoint = str(body.get("EndpointID", ""))
        if call == "NetworkDriver.Join":
            key = Path(body["SandboxKey"]).name
            body["SandboxKey"] = self._sandboxes.make(key)
        if call == "NetworkDriver.DeleteEndpoint" and endpoint in self._moved:
            key, source = self._moved.pop(endpoint)
            self._sandboxes.move_out(key, self._macs[endpoint], source)
        if call == "IpamDriver.ReleaseAddress":  # after a crash all that is heard of an end
            for each, cidrs in self._cidrs.items():
                if body["Address"] in (cidr.partition("/")[0] for cidr in cidrs):
                    self.published.pop(each, None)

    def _after(self, call: str, body: Said, said: Said) -> None:
        network, endpoint = str(body.get("NetworkID", "")), str(body.get("EndpointID", ""))
        match call.partition(".")[2]:
            case "CreateNetwork":
                self.networks[network] = [*body["IPv4Data"], *body["IPv6Data"]]
            case "DeleteNetwork":
                self.networks.pop(network, None)
            case "CreateEndpoint":
                asked = body["Interface"]
                chosen = str((said.get("Interface") or {}).get("MacAddress", ""))
                self.endpoints[endpoint] = network
                self._macs[endpoint] = asked["MacAddress"] or chosen
                self._cidrs[endpoint] = [asked["Address"], asked["AddressIPv6"]]
            case "Join":
                key = Path(body["SandboxKey"]).name
                name = said["InterfaceName"]
                inside = (key, name["SrcName"], name["DstPrefix"], self._macs[endpoint])
                self._sandboxes.move_in(*inside, self._cidrs[endpoint])
                self._moved[endpoint] = (key, name["SrcName"])
            case "ProgramExternalConnectivity":
                wanted = body["Options"].get("com.docker.network.portmap") or []
                tcp = 6
                self.published[endpoint] = {
                    each["HostPort"] for each in wanted if each["Proto"] == tcp and each["HostPort"]
                }
            case "RevokeExternalConnectivity" | "Leave":
                self.published.pop(endpoint, None)
            case "DeleteEndpoint":
                self.endpoints.pop(endpoint, None)
                self.published.pop(endpoint, None)
