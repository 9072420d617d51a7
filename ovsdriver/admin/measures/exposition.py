"""Everything there is as Prometheus reads it (its text format, version 0.0.4). Pure.

By hand, since the library takes ten times as long for a thousand containers. Made anew for each
scrape, so that a series ends with what it is of.
"""

import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ipam.model import Pool, Usage
from ovsdriver import __version__
from ovsdriver.admin.by_name import SHOWN_DIGITS
from ovsdriver.admin.measures.reading import Named
from ovsdriver.admin.measures.sums import Sums
from ovsdriver.admin.networks import report
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network
from ovsdriver.domain.wires import desired
from ovsdriver.domain.wires.observed import Measured, Traffic
from ovsdriver.ports import State, SwitchView

STATES = ("attached", "created", "ending", "broken", "unknown")
"""Of endpoints, see :class:`ovsdriver.admin.views.EndpointReport`."""

SLICE = 50
"""Endpoints between two breaths: about a millisecond."""

_PASSED = (
    ("receive_bytes", "Bytes that came to the container."),
    ("receive_packets", "Packets that came to the container."),
    ("receive_dropped_packets", "Packets for the container that were dropped."),
    ("transmit_bytes", "Bytes that the container sent."),
    ("transmit_packets", "Packets that the container sent."),
    ("transmit_dropped_packets", "Packets of the container that were dropped."),
)
"""Metrics of the members of :class:`Traffic`, in their order, and what they say."""


class Known(NamedTuple):
    """A network with its name, or the begin of its id where Docker does not list it."""

    network: Network
    name: str

    def same(self, other: "Known") -> bool:
        """Whether both are of one record."""
        return self.network is other.network and self.name == other.name


class Labels(NamedTuple):
    """How an endpoint's series begin, and what that was made of."""

    endpoint: Endpoint
    network: Known
    container: str
    series: str
    info: str


class Memory:
    """Labels of the last scrape: to write them is most of the work, and they seldom change."""

    def __init__(self) -> None:
        self._before: Mapping[EndpointId, Labels] = {}
        self._now: dict[EndpointId, Labels] = {}

    def labels(self, network: Known, endpoint: Endpoint, container: str) -> Labels:
        """Return those of an endpoint, whose records are other objects whenever they change."""
        found = self._before.get(endpoint.id)
        if (
            found is None
            or found.endpoint is not endpoint
            or not found.network.same(network)
            or found.container != container
        ):
            series = _labels(network=network.name, container=container)
            info = _info(network, endpoint, container)
            found = Labels(endpoint, network, container, series, info)
        self._now[endpoint.id] = found
        return found

    def turn(self) -> None:
        """Forget what was not asked for since the last time."""
        self._before, self._now = self._now, {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the records, the switch, the kernel and Docker say now."""

    state: State
    switch: SwitchView
    named: Named
    measured: Mapping[str, Measured] | None
    """See :meth:`Counters.read`; None: the kernel did not answer, so nothing is told of traffic."""
    lost: Mapping[EndpointId, str] = field(default_factory=dict)
    pools: Sequence[tuple[Pool, Usage]] = ()
    memory: Memory = field(default_factory=Memory)


def process(*, degraded: bool, open_vswitch: bool, docker: bool | None) -> str:
    """Return how the process itself stands; ``docker`` is None where nobody knows."""
    version = _labels(version=__version__, python=platform.python_version())
    return "".join(
        (
            _family("ovsnet_build_info", "gauge", "What runs.", [f"{version} 1"]),
            _gauge("ovsnet_degraded", "Whether ovsnet does only a part of its work.", degraded),
            _gauge("ovsnet_openvswitch_connected", "Whether Open vSwitch answers.", open_vswitch),
            ""
            if docker is None
            else _gauge("ovsnet_docker_connected", "Whether Docker answers.", docker),
        )
    )


def pieces(facts: Facts, sums: Sums | None = None) -> Iterator[str]:
    """Give the text, piece by piece; an empty one is a moment to let others work.

    With ``sums`` traffic is told for each network, else for each container.
    """
    networks = _networks(facts)
    told = _Told(facts, sums)
    endpoints = facts.state.endpoints()
    for at in range(0, len(endpoints), SLICE):
        for endpoint in endpoints[at : at + SLICE]:
            network = networks.get(endpoint.network)
            if network is not None:
                told.endpoint(network, endpoint)
        yield ""
    facts.memory.turn()
    if facts.measured is not None:
        yield from told.traffic([each.name for each in networks.values()])
    if sums is None:
        yield _family("ovsnet_endpoint_info", "gauge", "What an endpoint is.", told.info)
    yield from _of_networks(tuple(networks.values()), told.count)
    yield _pools(facts)
    if facts.measured is not None:
        yield from _uplinks(facts.state, facts.measured)


class _Told:
    """Series of endpoints, as they are gathered."""

    def __init__(self, facts: Facts, sums: Sums | None) -> None:
        self._facts = facts
        self._sums = sums
        self._connected = facts.switch.status().connected
        self._passed: tuple[list[str], ...] = tuple([] for _ in _PASSED)
        self._seen: set[tuple[str, str]] = set()
        self._up: list[str] = []
        self.info: list[str] = []
        self.count: Counter[tuple[str, str]] = Counter()

    def endpoint(self, network: Known, endpoint: Endpoint) -> None:
        facts, link = self._facts, names.port(endpoint)
        state, _ = report.endpoint_state(
            endpoint, facts.switch.port(link), connected=self._connected, lost=facts.lost
        )
        self.count[network.name, state] += 1
        measured = None if facts.measured is None else facts.measured.get(link)
        if self._sums is not None:
            if measured is not None:
                self._sums.add(network.name, endpoint.id, measured.traffic)
            return
        container = facts.named.container(endpoint.id)
        # Two series of one name would cost Prometheus the whole scrape.
        if not container or state == "ending" or (network.name, container) in self._seen:
            return
        self._seen.add((network.name, container))
        labels = facts.memory.labels(network, endpoint, container)
        self._up.append(f"{labels.series} {int(state == 'attached' and _passes(measured))}")
        self.info.append(f"{labels.info} 1")
        if measured is not None:
            self._put(labels.series, measured.traffic)

    def traffic(self, networks: Sequence[str]) -> Iterator[str]:
        if self._sums is not None:
            for network, traffic in self._sums.finish(networks):
                self._put(_labels(network=network), traffic)
        for (name, text), rows in zip(_PASSED, self._passed, strict=True):
            yield _family(f"ovsnet_endpoint_{name}_total", "counter", text, rows)
        if self._sums is None:
            text = "Whether packets can pass to the container."
            yield _family("ovsnet_endpoint_up", "gauge", text, self._up)

    def _put(self, label: str, traffic: Traffic) -> None:
        for rows, value in zip(self._passed, traffic, strict=True):
            rows.append(f"{label} {value}")


def _networks(facts: Facts) -> Mapping[str, Known]:
    """Return the networks that are told, by id: none before Docker has said a name."""
    if not facts.named.known:
        return {}
    taken: dict[str, Known] = {}
    for each in facts.state.networks():
        if not each.ended:
            name = facts.named.network(each.id) or each.id[:SHOWN_DIGITS]
            taken.setdefault(name, Known(each, name))
    return {each.network.id: each for each in taken.values()}


def _passes(measured: Measured | None) -> bool:
    return measured is not None and measured.up


def _info(network: Known, endpoint: Endpoint, container: str) -> str:
    vlan = desired.own_vlan(network.network, endpoint)
    return _labels(
        network=network.name,
        container=container,
        endpoint=endpoint.id,
        mac=names.mac_text(endpoint.mac),
        address=" ".join(str(each.ip) for each in endpoint.addresses),
        bridge=network.network.segment.bridge,
        vlan="" if vlan is None else str(vlan),
        port=names.port(endpoint),
    )


def _of_networks(networks: Sequence[Known], count: Mapping[tuple[str, str], int]) -> Iterator[str]:
    yield _family(
        "ovsnet_network_info",
        "gauge",
        "What a network is.",
        [
            _labels(
                network=each.name,
                id=each.network.id,
                bridge=each.network.segment.bridge,
                segment=each.network.segment.name,
                mode=" ".join(sorted(mode.value for mode in each.network.modes)),
            )
            + " 1"
            for each in networks
        ],
    )
    yield _family(
        "ovsnet_network_endpoints",
        "gauge",
        "Endpoints of a network, by what they are: broken ones are cut off.",
        [
            f"{_labels(network=each.name, state=state)} {count.get((each.name, state), 0)}"
            for each in networks
            for state in STATES
        ],
    )


def _pools(facts: Facts) -> str:
    rows: dict[str, int] = {}
    for pool, usage in facts.pools:
        network = facts.state.network_of_pool(pool.id)
        name = "" if network is None else facts.named.network(network.id)
        for state, number in (
            ("leased", usage.held),
            ("reserved", usage.reserved),
            ("resting", usage.resting),
            ("free", usage.free),
        ):
            label = _labels(pool=str(pool.subnet), space=pool.space, network=name, state=state)
            rows.setdefault(label, number)
    return _family(
        "ovsnet_pool_addresses",
        "gauge",
        "Addresses of a pool; reserved ones may be leased, resting ones are free.",
        [f"{label} {number}" for label, number in rows.items()],
    )


def _uplinks(state: State, measured: Mapping[str, Measured]) -> Iterator[str]:
    nics = {
        (network.segment.bridge, nic): measured.get(nic)
        for network in state.networks()
        if network.segment.uplink is not None and not network.ended
        for nic in network.segment.uplink.nics
    }
    rows = [(_labels(bridge=bridge, nic=nic), seen) for (bridge, nic), seen in nics.items()]
    text = "Whether packets can pass a NIC that leads out of a bridge."
    yield _family(
        "ovsnet_uplink_up", "gauge", text, [f"{label} {int(_passes(seen))}" for label, seen in rows]
    )
    for word, text, member in (
        ("receive", "Bytes that such a NIC has received.", "received_bytes"),
        ("transmit", "Bytes that such a NIC has sent.", "sent_bytes"),
    ):
        yield _family(
            f"ovsnet_uplink_{word}_bytes_total",
            "counter",
            text,
            [f"{label} {getattr(seen.traffic, member)}" for label, seen in rows if seen],
        )


def _gauge(name: str, text: str, value: bool) -> str:
    return _family(name, "gauge", text, [f" {int(value)}"])


def _family(name: str, kind: str, text: str, rows: Sequence[str]) -> str:
    """Return a metric with its series, each of which begins with its labels."""
    head = f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    return head + "".join(f"{name}{row}\n" for row in rows)


def _labels(**values: str) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())
    return f"{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
