"""What is wrong with one container or one network: its records, what was repaired, its traces."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from ovsdriver.adapters.engine import DockerEngine, SeenContainer
from ovsdriver.admin import asks
from ovsdriver.admin.views import EndpointReport, NetworkReport, PoolUse, Report, Status
from ovsdriver.cli import named, show
from ovsdriver.cli.daemon import ask
from ovsdriver.cli.doctor.finding import Finding, Level, fail, ok, warn
from ovsdriver.cli.look import tracer
from ovsdriver.cli.look.places import DNS_WORD, HOST_WORD, OUTSIDE_WORD, Placed, called, name_of
from ovsdriver.cli.look.tracer import Traced
from ovsdriver.cli.outcome import Refusal
from ovsdriver.config import Settings
from ovsdriver.domain.records.model import Mode, Network, Publication
from ovsdriver.domain.records.segments import OvnSegment
from ovsdriver.domain.tracing import rules
from ovsdriver.domain.tracing.hops import Question
from ovsdriver.errors import UnavailableError

_FULL = 0.9
"""Of a pool: new containers will soon find none."""


def examine(settings: Settings, name: str) -> tuple[Sequence[Finding], bool, bool]:
    """Say what is so with a container or a network.

    Returns:
        What was found; whether packets of it cross this host's rules; whether it is over hosts.

    Raises:
        Refusal: there is none such, or it is none of ovsnet's.
    """
    state = ask(settings, asks.ShowState())
    status = ask(settings, asks.ShowStatus())
    placed = _placed(settings, state, name)
    if isinstance(placed, NetworkReport):
        findings = [*_network(settings, placed, state), *_lately(status, placed, ())]
        networks = [placed]
    else:
        networks = [each.network for each in placed]
        findings = [each for one in placed for each in _endpoint(one)]
        findings += [each for one in networks for each in _network_state(one)]
        findings += [f for one in placed for f in _lately(status, one.network, [one.endpoint])]
        if all(each.endpoint.state == "attached" for each in placed):
            findings += _traces(settings, placed)
    return (
        tuple(dict.fromkeys(findings)),
        any(each.gateway_link for each in networks),
        any(isinstance(each.network.segment, OvnSegment) for each in networks),
    )


def _placed(settings: Settings, state: Report, name: str) -> NetworkReport | Sequence[Placed]:
    """Return a network, or all places of a container that are meant."""
    networks = {each.network.id: each for each in state.networks}
    found = [
        Placed(networks[each.endpoint.network], each)
        for each in state.endpoints
        if each.container and each.container == name
    ]
    if found and not any(each.name == name for each in state.networks):
        return found
    try:
        network, endpoint = named.target(name, state)
    except Refusal as error:
        raise Refusal(_unknown(settings, state, name) or error.message) from error
    return network if endpoint is None else [Placed(network, endpoint)]


def _unknown(settings: Settings, state: Report, name: str) -> str:
    """Return a sentence about a container that is on no network of ovsnet's; empty if none is."""
    try:
        seen = asyncio.run(DockerEngine(settings.docker).look_at(name))
    except UnavailableError:
        return ""
    return "" if seen is None else absent(seen, [each.name for each in state.networks])


def absent(seen: SeenContainer, ours: Sequence[str]) -> str:
    """Return why a container that Docker knows has no endpoint of ovsnet's, and what to type.

    Args:
        seen: as Docker tells it.
        ours: names of ovsnet's networks.
    """
    mine = [each for each in seen.networks if each in ours]
    if seen.status != "running":
        code = f" with code {seen.exit_code}" if seen.status == "exited" else ""
        where = f", on {' and '.join(mine)}" if mine else ""
        return (
            f"{seen.name} does not run: it is {seen.status}{code}{where}; `docker start "
            f"{seen.name}`, and `docker logs {seen.name}` tells why it ended"
        )
    others = " and ".join(seen.networks) or "none"
    if mine:
        return (
            f"{seen.name} runs on {' and '.join(mine)}, and ovsnet has no endpoint of it; restart "
            "it: `docker restart " + seen.name + "`"
        )
    return (
        f"{seen.name} is on no network of ovsnet's, but on {others}; connect it to one: `docker "
        f"network connect NETWORK {seen.name}`"
    )


def _endpoint(placed: Placed) -> Iterator[Finding]:
    network, each = placed
    name, where = called(placed), name_of(network)
    subject = f"{where}/{name}"
    held = show.addresses(each.endpoint)
    if each.state == "attached":
        yield ok(subject, f"plugged into {each.bridge} as {each.port_name}, with {held}")
    elif each.state == "unknown":
        yield fail(subject, "Open vSwitch does not answer", "ovsnet check")
    else:
        why = each.fault or f"its endpoint is {each.state}"
        yield fail(subject, f"not plugged in: {why}", "ovsnet reconcile")
    if each.name_not_given:
        yield warn(subject, f"its interface has another name: {each.name_not_given}")
    if each.excess:
        yield warn(subject, f"would not all be put back if it were lost: {each.excess}")
    if each.unpublished:
        ports = ", ".join(port.text for port in each.unpublished)
        yield warn(
            subject,
            f"{ports} not published: {each.unpublished_why or 'no network of it can'}",
            f"ovsnet endpoint show {name}",
        )


def _network_state(network: NetworkReport) -> Iterator[Finding]:
    subject = f"network {name_of(network)}"
    mode = f"ovs.mode={network.network.mode}"
    if network.state == "ready":
        yield ok(subject, f"{mode} on {network.network.segment.bridge}")
    else:
        yield fail(subject, f"is {network.state}", "ovsnet reconcile")
    if network.in_docker is False:
        yield warn(
            subject,
            "Docker does not list it any more",
            f"ovsnet network rm {name_of(network)}",
        )
    if network.uplink is not None and network.uplink.fault:
        yield fail(subject, f"its uplink: {network.uplink.fault}", "ovsnet reconcile")


def _network(settings: Settings, network: NetworkReport, state: Report) -> Iterator[Finding]:
    yield from _network_state(network)
    there = [e for e in state.endpoints if e.endpoint.network == network.network.id]
    bad = [f for e in there for f in _endpoint(Placed(network, e)) if f.level is not Level.OK]
    if not bad:
        yield ok(f"network {name_of(network)}", f"{show.plural(len(there), 'container')}, all well")
    yield from bad
    pools = [each for each in network.network.subnets if each.pool is not None]
    if pools and not isinstance(network.network.segment, OvnSegment):
        uses = ask(settings, asks.ListPools(of=network.network.id))
        yield from map(_pool, uses)


def _pool(use: PoolUse) -> Finding:
    usage = use.usage
    subject = f"pool {use.pool.subnet}"
    held = f"{usage.held} of {usage.capacity} addresses are held"
    if not usage.free:
        return fail(subject, f"{held}: no container gets another one", "ovsnet ipam leases")
    if usage.held >= _FULL * usage.capacity:
        return warn(subject, f"{held}", "ovsnet ipam leases")
    return ok(subject, held)


def _lately(
    status: Status, network: NetworkReport, endpoints: Sequence[EndpointReport]
) -> Iterator[Finding]:
    """Yield what the process says of it: what it could not mend, and what it has mended."""
    repairs = status.repairs
    words = [show.short(network.network.id)] if not endpoints else []
    words += [network.name] if network.name and not endpoints else []
    for each in endpoints:
        words += [show.short(each.endpoint.id), each.port_name, each.container]
    about = _about([each for each in words if each])
    yield from (fail("repair", text, "ovsnet reconcile") for text in filter(about, repairs.failed))
    yield from (warn("repair", text) for text in filter(about, repairs.beyond))
    yield from (warn("status", text) for text in filter(about, status.warnings))
    for mended in repairs.lately:
        if about(mended.what):
            yield ok("mended lately", f"{mended.what} ({show.time(mended.at)})")


def _about(words: Iterable[str]) -> Callable[[str], bool]:
    wanted = set(words)

    def is_about(text: str) -> bool:
        found = set(text.replace("/", " ").replace(",", " ").replace(":", " ").split())
        return not wanted.isdisjoint(found)

    return is_about


def _traces(settings: Settings, placed: Sequence[Placed]) -> Iterator[Finding]:
    name = called(placed[0])
    one = name if len(placed) > 1 else f"{name_of(placed[0].network)}/{name}"
    families = sorted({family for each in placed for family in each.families})
    if any(each.network.gateway_link for each in placed):
        routed = any(each.network.network.mode.has_gateway for each in placed)
        subject = f"{name} to {'its gateway' if routed else 'this host'}"
        yield _traced(settings, subject, (one, HOST_WORD), Question(), None)
    if all(_closed(each.network.network) for each in placed):
        yield ok(f"{name} to the outside", "its networks are closed, as they were made")
    else:
        for family in families:
            subject = f"{name} to the outside, IPv{family}"
            yield _traced(settings, subject, (one, OUTSIDE_WORD), Question(), family)
        yield _traced(settings, f"names for {name}", (one, DNS_WORD), Question(), None)
    for each in placed:
        for port in each.endpoint.endpoint.published:
            yield _published(settings, name, one, port)


def _closed(network: Network) -> bool:
    """Whether nothing leads out of it, as it was made: no router of the user's does, either."""
    return network.internal or (network.mode is Mode.ISOLATED and not network.has_way)


def _published(settings: Settings, name: str, one: str, port: Publication) -> Finding:
    asked = Question(protocol=port.protocol.value, port=port.host_port)
    source = HOST_WORD if port.host.is_loopback() else OUTSIDE_WORD
    subject = f"port {port.host_text} of {name}"
    return _traced(settings, subject, (source, one), asked, port.host.version)


def _traced(
    settings: Settings, subject: str, ends: tuple[str, str], asked: Question, family: int | None
) -> Finding:
    try:
        found = tracer.trace(settings, *ends, asked, family=family)
    except Refusal as error:
        return warn(subject, error.message)
    return judged(subject, found, " ".join(["ovsnet trace", *ends, *_typed(asked, family)]))


def _typed(asked: Question, family: int | None) -> Iterator[str]:
    if asked.port is not None:
        yield str(asked)
    if family == 6:
        yield "-6"


def judged(subject: str, found: Traced, typed: str) -> Finding:
    """Return what a trace comes to.

    Args:
        subject: of the finding.
        found: the trace.
        typed: what shows it step by step.
    """
    if found.reaches:
        return ok(subject, "passes, as far as this host can tell")
    verdict = "stop" if found.reaches is False else "unsure"
    hop = next(each for each in found.hops if each.verdict == verdict)
    if found.reaches is False and rules.decide(hop):
        return ok(subject, f"closed, by {hop.by}")
    return (fail if found.reaches is False else warn)(subject, hop.sentence, typed)
