"""The host's own ports on networks: gateways, and ports that only ask who has an address."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from netaddr import IPAddress

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Network
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.plumbing import Gateway, Port
from ovsdriver.errors import ConflictError
from ovsdriver.ports import Links, Ports
from ovsdriver.service.aspects.aspect import Aspect
from ovsdriver.service.aspects.firewall import FirewallRules
from ovsdriver.service.aspects.uplinks import Uplinks

PROBE_S = 1.0
"""How long the gateway addresses are asked for on a segment that others may use."""


class HostEnds(Aspect):
    """Compared and repaired together with bridges and containers' ports, as ports are."""

    def __init__(
        self, *, owner: str, switch: Ports, links: Links, uplinks: Uplinks, rules: FirewallRules
    ) -> None:
        self._owner = owner
        self._switch = switch
        self._links = links
        self._uplinks = uplinks
        self._rules = rules

    async def ensure_network(self, network: Network) -> None:
        """Make the port that a network has.

        Raises:
            ConflictError: somebody has a new gateway's address.
        """
        probe = desired.probe(network, owner=self._owner)
        if probe is not None:
            await self._switch.ensure_port(probe.port)
            await self._links.ensure_probe(probe)
        elif self._switch.port(names.probe_link(network.id)) is not None:
            await self._switch.remove_port(names.probe_link(network.id))
        gateway = desired.gateway(network, owner=self._owner)
        if gateway is None:
            await self._withdraw(network)
            return
        # The rules name the gateway's device, so they can stand before it does: at no moment
        # does a gateway forward without them.
        await self._rules.apply()
        await self._switch.ensure_port(gateway.port)
        if network.segment.outside and not network.made:
            silent = Gateway(
                network=gateway.network, port=gateway.port, addresses=(), mtu=gateway.mtu
            )
            await self._links.ensure_gateway(silent)
            await self._refuse_neighbours(gateway.port, [each.ip for each in gateway.addresses])
        await self._links.ensure_gateway(gateway)
        # Again, for the switches of the device that exists now, which may not be the one of before.
        await self._rules.apply(renewed=gateway.port.name)

    async def _withdraw(self, network: Network) -> None:
        """Remove the host's port from a network on which it is not any more."""
        link = names.gateway_link(network.id)
        if self._switch.port(link) is not None:
            await self._switch.remove_port(link)
            await self._links.remove_link(link)
            await self._rules.apply()

    async def remove_network(self, network: Network) -> None:
        """Remove the port, then the rules: an ended network has none."""
        gateway = desired.gateway(network, owner=self._owner)
        for of_host in (gateway, desired.probe(network, owner=self._owner)):
            if of_host is not None:
                await self._switch.remove_port(of_host.port.name)
                # vswitchd's devices outlast it: one that is killed now would leave this one
                await self._links.remove_link(of_host.port.name)
        if gateway is not None:
            await self._rules.apply()

    async def refuse_answered(self, before: Network, after: Network) -> None:
        """Refuse a VLAN on which somebody has the host's new address, where others may be.

        Asked from a port for the moment, and while an uplink already lets that VLAN through.

        Raises:
            ConflictError: somebody has it.
        """
        gateway = desired.gateway(after, owner=self._owner)
        segment = after.segment
        if gateway is None or not segment.outside:
            return
        earlier = desired.gateway(before, owner=self._owner)
        known = earlier.addresses if earlier and segment.tag == before.segment.tag else ()
        fresh = [each for each in gateway.addresses if each not in known]
        if not fresh:
            return
        scout = desired.scout(after, owner=self._owner)
        wire = self._uplinks.wanted(segment.bridge)
        async with AsyncExitStack() as undo:
            if wire is not None:
                undo.push_async_callback(self._switch.change_ports, [wire])
                wider = tuple(sorted({*wire.trunks, *segment.vlans}))
                await self._switch.change_ports([replace(wire, trunks=wider)])
            undo.push_async_callback(self._switch.remove_port, scout.port.name)
            await self._switch.ensure_port(scout.port)
            await self._links.ensure_probe(scout)
            await self._refuse_neighbours(scout.port, [each.ip for each in fresh])

    async def _refuse_neighbours(self, asking: Port, addresses: Sequence[IPAddress]) -> None:
        found = await self._links.neighbours(asking.name, addresses, within_s=PROBE_S)
        for address, holder in found.items():
            raise ConflictError(
                f"address {address} is in use on bridge {asking.bridge}, VLAN "
                f"{asking.tag or 'none'}, by {names.mac_text(holder)}; choose another one, or "
                "-o ovs.mode=flat to use that as the gateway"
            )
