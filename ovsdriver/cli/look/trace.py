"""``ovsnet trace``."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import click
from netaddr import EUI, AddrFormatError, IPAddress, IPNetwork

from ovsdriver.adapters.kernel.sandbox import sandbox_view
from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport, NetworkReport, Report, SegmentLease
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.doctor import rpc
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Exit, Refusal
from ovsdriver.config import Settings
from ovsdriver.domain.records.names import mac_text
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.domain.tracing import containers as tracing
from ovsdriver.domain.tracing import hops as told
from ovsdriver.domain.tracing.containers import Bridged, End, FarPlace, HostPlace
from ovsdriver.domain.tracing.hops import Hop, Question, Verdict

_PROTOCOLS = ("tcp", "udp", "sctp")
_SIGNS = {Verdict.PASS: "✔", Verdict.STOP: "✘", Verdict.UNSURE: "?"}


@click.command(
    name="trace",
    epilog=EXIT_CODES,
    short_help="Tell why a container does or does not reach another, or this host.",
)
@click.argument("source", metavar="CONTAINER")
@click.argument("target", metavar="CONTAINER|ADDRESS")
@click.argument("protocol", metavar="[PROTOCOL/PORT]", default="icmp")
@settings_of("run_dir", "ovsdb")
@JSON
def command(settings: Settings, source: str, target: str, protocol: str, as_json: bool) -> None:
    """Tell why one container does or does not reach another, or this host, step by step.

    Looks at both ports, and at addresses and routes inside of both. Asks what the network's mode
    and options allow, what the bridge would do with such a packet, and whether a program listens.
    Nothing is sent. The last line is the one that matters. A container that is on
    several networks is named NETWORK/CONTAINER, this host by one of its addresses. On a segment,
    containers of other hosts are named by name or address.

    \b
    Examples:
      ovsnet trace web db
      ovsnet trace web db tcp/5432
      ovsnet trace web 192.0.2.1 tcp/22
      ovsnet trace lab/web lab/db udp/53 --json
    """
    asked = _question(protocol)
    state = ask(settings, asks.ShowState())
    address = _address(target)
    far = _far(settings, state, source, target, address)
    if far is not None:
        steps, sentence = _to_far(settings, state, source, far, asked)
    elif address is None:
        steps, sentence = _to_container(settings, state, (source, target), asked)
    else:
        steps, sentence = _to_host(state, source, address, asked)
    reaches = told.reaches(steps)
    if as_json:
        show.as_json({"reaches": reaches, "verdict": sentence, "hops": steps})
    else:
        for each in steps:
            show.line(f"{_SIGNS[each.verdict]} {each.sentence}")
        show.line()
        show.line(sentence)
    if reaches is False:
        raise click.exceptions.Exit(int(Exit.REFUSED))


def _to_container(
    settings: Settings,
    state: Report,
    names: tuple[str, str],
    asked: Question,
) -> tuple[Sequence[Hop], str]:
    found = [_container(each, state) for each in names]
    plain = [_end(network, endpoint) for network, endpoint in found]
    version = tracing.family(*plain)
    a, b = (
        _looked_into(
            end,
            endpoint,
            other=None if version is None else tracing.address(peer, version),
            asked=asked if end is plain[1] else Question(protocol=asked.protocol),
        )
        for end, (_, endpoint), peer in zip(plain, found, reversed(plain), strict=True)
    )
    bridged = None
    if version is not None and tracing.together(a, b):
        place = found[1][1].endpoint
        to = next(each.ip for each in place.addresses if each.version == version)
        packet = _packet(found[0][1], (place.mac, to), asked)
        bridged = Bridged(actions=_bridge_says(settings, a.bridge, packet))
    steps = tracing.trace(a, b, asked, bridged)
    return steps, tracing.verdict(a, b, asked, steps)


def _far(
    settings: Settings, state: Report, source: str, target: str, address: IPAddress | None
) -> SegmentLease | IPAddress | None:
    """Return who of another host is meant, or an address that nobody has; None: nobody is.

    That is an address of the source's segment, or a container's name that this host does not have.
    """
    network, _ = _container(source, state)
    segment = network.network.segment
    if not isinstance(segment, OvnSegment):
        return None
    if address is None:
        if any(each.container == target for each in state.endpoints) or "/" in target:
            return None
        leases = ask(settings, asks.ShowSegment(name=segment.segment)).leases
        return next((each for each in leases if each.container == target), None)
    if not any(address in each.cidr for each in network.network.subnets):
        return None
    leases = ask(settings, asks.ShowSegment(name=segment.segment)).leases
    return next((each for each in leases if each.address == address), address)


def _to_far(
    settings: Settings,
    state: Report,
    source: str,
    far: SegmentLease | IPAddress,
    asked: Question,
) -> tuple[Sequence[Hop], str]:
    network, endpoint = _container(source, state)
    address = far if isinstance(far, IPAddress) else far.address
    a = _looked_into(
        _end(network, endpoint),
        endpoint,
        other=IPNetwork(address),
        asked=Question(protocol=asked.protocol),
    )
    to, bridged = FarPlace(address=address), None
    if not isinstance(far, IPAddress):
        fleet = ask(settings, asks.ListHosts())
        hears = next((each.answers for each in fleet.hosts if each.name == far.host), None)
        to = FarPlace(address=address, container=far.container, host=far.host, hears=hears)
        if far.mac is not None:
            packet = _packet(endpoint, (far.mac, address), asked)
            bridged = Bridged(actions=_bridge_says(settings, a.bridge, packet))
    steps = tracing.trace_far(a, to, asked, bridged)
    return steps, tracing.verdict(a, to, asked, steps)


def _to_host(
    state: Report, source: str, address: IPAddress, asked: Question
) -> tuple[Sequence[Hop], str]:
    if not sandbox_view.is_local(address):
        raise Refusal(f"{address} is no address of this host; name one, or a container")
    network, endpoint = _container(source, state)
    a = _looked_into(
        _end(network, endpoint),
        endpoint,
        other=IPNetwork(address),
        asked=Question(protocol=asked.protocol),
    )
    to = HostPlace(
        address=address,
        network=next((_name(n) for n in state.networks if _holds(n, address)), ""),
        leads_to=_publisher(state, address, asked),
        listens=sandbox_view.listens(asked.protocol, asked.port)
        if asked.port is not None and asked.protocol in ("tcp", "udp")
        else None,
    )
    steps = tracing.trace_host(a, to, asked)
    return steps, tracing.verdict(a, to, asked, steps)


def _holds(network: NetworkReport, address: IPAddress) -> bool:
    gateways = (each.gateway for each in network.network.subnets)
    return network.gateway_link is not None and address in gateways


def _publisher(state: Report, address: IPAddress, asked: Question) -> str:
    """Return the container that a port of the host is published for; empty if it is not."""
    for endpoint in state.endpoints:
        for each in endpoint.endpoint.published:
            if (each.protocol, each.host_port, each.host.version) == (
                asked.protocol,
                asked.port,
                address.version,
            ) and (each.host == address or each.at.everywhere):
                return str(endpoint.container or show.short(endpoint.endpoint.id))
    return ""


def _address(text: str) -> IPAddress | None:
    """Return the address that a target is; None if it is a name."""
    try:
        return IPAddress(text) if "." in text or ":" in text else None
    except (AddrFormatError, ValueError):
        return None


def _name(network: NetworkReport) -> str:
    return network.name or show.short(network.network.id)


def _question(text: str) -> Question:
    protocol, slash, port = text.lower().partition("/")
    if not slash and protocol in ("icmp", "ping"):
        return Question()
    if protocol not in _PROTOCOLS or not port.isdecimal() or not 0 < int(port) < 65536:
        raise click.UsageError(f"{text!r}: write it like tcp/5432 or udp/53, or leave it out")
    return Question(protocol=protocol, port=int(port))


def _container(text: str, state: Report) -> tuple[NetworkReport, EndpointReport]:
    network, endpoint = named.target(text, state)
    if endpoint is None:
        raise Refusal(f"{text} is a network; name a container of it, NETWORK/CONTAINER")
    return network, endpoint


def _end(found: NetworkReport, place: EndpointReport) -> End:
    network, endpoint = found.network, place.endpoint
    segment = network.segment
    home = segment.tag
    return End(
        name=place.container or show.short(endpoint.id),
        network=_name(found),
        network_id=network.id,
        state=place.state,
        fault=place.fault,
        addresses=endpoint.addresses,
        bridge=place.bridge,
        vlan=place.port.vlan,
        mode=network.mode.value,
        isolate=network.isolate,
        icc=network.icc,
        protected=endpoint.protected,
        sink=bool(place.port.sink),
        inside=None,
        host=network.host if found.gateway_link else None,
        segment=segment.segment if isinstance(segment, OvnSegment) else "",
        home_vlan=home if home is not None and place.port.vlan != home else None,
    )


def _looked_into(
    end: End, endpoint: EndpointReport, *, other: IPNetwork | None, asked: Question
) -> End:
    sandbox = endpoint.endpoint.sandbox
    if not sandbox:
        return end
    inside = sandbox_view.look(
        sandbox,
        endpoint.endpoint.mac,
        other.ip if other is not None else None,
        asked if asked.protocol in ("tcp", "udp") else Question(),
    )
    return replace(end, inside=inside)


def _packet(a: EndpointReport, to: tuple[EUI, IPAddress], asked: Question) -> str:
    """Return the packet as ``ofproto/trace`` reads it."""
    mac, target = to
    version = target.version
    word = asked.protocol if version == 4 else f"{asked.protocol}6"
    source = next(e.ip for e in a.endpoint.addresses if e.version == version)
    names = ("nw_src", "nw_dst", "nw_ttl") if version == 4 else ("ipv6_src", "ipv6_dst", "nw_ttl")
    said = [
        f"in_port={a.ofport}",
        word,
        f"dl_src={mac_text(a.endpoint.mac)}",
        f"dl_dst={mac_text(mac)}",
        f"{names[0]}={source}",
        f"{names[1]}={target}",
        f"{names[2]}=64",
    ]
    if asked.port is not None:
        said += ["tp_src=40000", f"tp_dst={asked.port}"]
    else:
        said.append("icmp_type=8" if version == 4 else "icmp_type=128")
    return ",".join(said)


def _bridge_says(settings: Settings, bridge: str, packet: str) -> str:
    """Return the datapath's actions for a packet; empty if ovs-vswitchd cannot be asked."""
    said = asyncio.run(rpc.ask_vswitchd(settings.ovsdb, "ofproto/trace", [bridge, packet])) or ""
    lines = [line for line in said.splitlines() if line.startswith("Datapath actions:")]
    return lines[-1].partition(":")[2].strip() if lines else ""
