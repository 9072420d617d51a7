"""What a person, or Prometheus, may ask of traffic."""

import asyncio
import time

from ipam.leasing import Leasing
from ovsdriver.admin import asks
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.measures import exposition
from ovsdriver.admin.measures.exposition import Facts, Memory
from ovsdriver.admin.measures.reading import Counters, Named
from ovsdriver.admin.measures.sums import Sums
from ovsdriver.admin.measures.views import (
    EndpointTraffic,
    GatewayTraffic,
    TrafficReport,
    UplinkTraffic,
)
from ovsdriver.domain.records import names
from ovsdriver.domain.wires import desired
from ovsdriver.errors import UnavailableError
from ovsdriver.ports import EngineView, State, SwitchView
from ovsdriver.service.forgotten.witnesses import Witness
from ovsdriver.service.repair.reconciler import Reconciler


class TrafficDesk:
    """Reads counters when it is asked, and never else."""

    def __init__(
        self,
        *,
        owner: str,
        state: State,
        switch: SwitchView,
        ipam: Leasing,
        counters: Counters,
        witness: Witness,
        reconciler: Reconciler,
        by_container: bool,
    ) -> None:
        """``by_container``: traffic is told to Prometheus for each, else for each network."""
        self._owner = owner
        self._state = state
        self._switch = switch
        self._ipam = ipam
        self._counters = counters
        self._witness = witness
        self._reconciler = reconciler
        self._named = Named(state=state, view=self._view)
        self._sums = None if by_container else Sums()
        self._memory = Memory()
        self._asked = asyncio.Lock()

    def answers(self) -> Answers:
        """Return what is answered here."""
        return {asks.ShowTraffic: self.traffic}

    async def metrics(self) -> str:
        """Return what there is of networks and containers, in Prometheus' text format."""
        # One at a time: each is of one moment, and two do not cost more than one.
        async with self._asked:
            self._named.refresh()
            try:
                measured = await self._counters.read()
            except UnavailableError:
                measured = None
            facts = Facts(
                state=self._state,
                switch=self._switch,
                named=self._named,
                measured=measured,
                lost=self._reconciler.lost,
                memory=self._memory,
                pools=[(each, self._ipam.usage(each.id)) for each in self._ipam.pools()],
            )
            parts = []
            for piece in exposition.pieces(facts, self._sums):
                parts.append(piece)
                await asyncio.sleep(0)  # a container may be waiting
            return "".join(parts)

    async def traffic(self, _ask: asks.ShowTraffic) -> TrafficReport:
        """Return what passed each link.

        Raises:
            UnavailableError: the kernel does not answer.
        """
        self._named.refresh()
        found = await self._counters.read()
        traffic = {link: each.traffic for link, each in found.items()}
        up = {link for link, each in found.items() if each.up}
        networks = {each.id: each for each in self._state.networks() if not each.ended}
        gateways = [(each, desired.gateway(each, owner=self._owner)) for each in networks.values()]
        endpoints = [
            EndpointTraffic(
                endpoint=each.id,
                network=each.network,
                network_name=self._named.network(each.network),
                container=self._named.container(each.id),
                link=names.port(each),
                mac=each.mac,
                addresses=each.addresses,
                up=names.port(each) in up,
                traffic=traffic.get(names.port(each)),
            )
            for each in self._state.endpoints()
            if each.network in networks and not each.ended
        ]
        return TrafficReport(
            at=time.monotonic(),
            endpoints=tuple(
                sorted(endpoints, key=lambda each: (each.network_name, each.container))
            ),
            gateways=tuple(
                GatewayTraffic(
                    network=network.id,
                    network_name=self._named.network(network.id),
                    link=gateway.port.name,
                    mac=gateway.port.mac,
                    addresses=gateway.addresses,
                    traffic=traffic.get(gateway.port.name),
                )
                for network, gateway in gateways
                if gateway is not None
            ),
            uplinks=tuple(
                UplinkTraffic(bridge=bridge, nic=nic, up=nic in up, traffic=traffic.get(nic))
                for bridge, nic in sorted(
                    {
                        (each.segment.bridge, nic)
                        for each in networks.values()
                        if each.segment.uplink is not None
                        for nic in each.segment.uplink.nics
                    }
                )
            ),
        )

    def _view(self) -> EngineView | None:
        seen = self._witness.seen()
        return None if seen is None else seen.view
