"""Whose a gateway, an address and a rule are: names for what a packet meets on this host. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netaddr import IPAddress

from ovsdriver.domain.records.model import HostAccess, Mode
from ovsdriver.domain.tracing.rules import NO_RULES, AccessRules
from ovsdriver.domain.traffic.chains import BaseChain, Judged, Packet
from ovsdriver.domain.traffic.firewall import GatewayRules
from ovsdriver.domain.traffic.foreign_chains import DOCKER_USER, cure, title


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A network of ours with a gateway on this host."""

    name: str
    """As it is typed."""
    rules: GatewayRules


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """What decides, and a sentence about it."""

    sentence: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lay:
    """Names of what is on this host."""

    table: str = "ovsnet"
    """Of ours in nftables, of family inet."""
    homes: Mapping[str, Home] = field(default_factory=dict)
    """By the gateway's link."""
    containers: Mapping[IPAddress, str] = field(default_factory=dict)
    """Names of containers that ports are published for, by address."""
    access: AccessRules = NO_RULES

    def home(self, link: str) -> Home | None:
        """Return the network whose gateway a link is."""
        return self.homes.get(link)

    def owner(self, address: IPAddress | None) -> Home | None:
        """Return the network that an address is the gateway of."""
        return next((each for each in self.homes.values() if address in each.rules.held), None)

    def is_ours(self, chain: BaseChain) -> bool:
        """Whether a chain is of our own table."""
        return chain.program == "nft" and (chain.family, chain.table) == ("inet", self.table)

    def why(self, chain: BaseChain, judged: Judged, packet: Packet) -> Why:
        """Return what made the rule that ends a packet, and what to type."""
        if self.is_ours(chain):
            return self._ours(judged, packet)
        return _foreign(chain, judged)

    def _ours(self, judged: Judged, packet: Packet) -> Why:
        comment = judged.rule.comment if judged.rule is not None else ""
        here, there = self.home(packet.incoming), self.home(packet.outgoing)
        if here is not None:
            from_here = {
                "source is not of this network": lambda: _not_its_own(here, packet),
                "not the gateway's own": lambda: _closed(here, HostAccess.ALL),
                "no services": lambda: _closed(here, HostAccess.GATEWAY),
                "not to each other": lambda: _kept_apart(here),
            }
            if comment in from_here:
                return from_here[comment]()
            if comment == "another network" and there is not None:
                return _apart(here, there, packet.family)
        if comment == "another network's gateway":
            return self._gateway(here, packet)
        if not comment and there is not None and judged.path[-1:] == ("to_gateway",):
            return _nothing_begins(there, packet.family)
        return self._else(comment, judged, packet)

    def _gateway(self, here: Home | None, packet: Packet) -> Why:
        owner = self.owner(packet.destination)
        name = owner.name if owner is not None else "another network"
        own = f"; use the gateway of {here.name}" if here is not None else ""
        return Why(
            sentence=f"{packet.destination} is the gateway of {name}, which only containers of "
            f"{name} reach{own}",
            by=f"the gateway of {name}",
        )

    def _else(self, comment: str, judged: Judged, packet: Packet) -> Why:
        link = packet.outgoing if self.home(packet.incoming) else packet.incoming
        words = {
            "containers of others": f"bridge {link} has other people's containers, which ovsnet's "
            "networks are kept from",
            "published on a gateway of ours": "a port that is published on a gateway is for that "
            "network's containers; use another address of this host",
            "no router": "this host has an address on that network, and forwards nothing from "
            "there; name a router with ovs.gateway",
            "another instance's network": "another ovsnet of this host has that network, and they "
            "are kept apart",
        }
        if judged.path[:1] == ("guard",):
            return Why(
                sentence="this host forwards for networks of ovsnet alone, and this is none; "
                "`sysctl -w net.ipv4.ip_forward=1` makes it a router for all",
                by="forwarding of ovsnet's networks alone",
            )
        if judged.path[:1] == ("loopback",):
            return Why(
                sentence="addresses of 127.0.0.0/8 do not come in by a wire; use another address "
                "of this host",
                by="published ports of ovsnet",
            )
        where = judged.path[-1] if judged.path else ""
        return Why(
            sentence=words.get(comment, f"chain {where} of ovsnet's table drops it"),
            by=f"ovsnet's rule {comment or where}",
        )


def _not_its_own(here: Home, packet: Packet) -> Why:
    return Why(
        sentence=f"{packet.source} is no address of {here.name}, so it is dropped on arrival; give "
        "the container its address back",
        by=f"the subnets of {here.name}",
    )


def _kept_apart(here: Home) -> Why:
    by = f"ovs.icc=false of {here.name}"
    return Why(
        sentence=f"{by} keeps its containers apart; `ovsnet set {here.name} ovs.icc=true` lets "
        "them talk",
        by=by,
    )


def _nothing_begins(there: Home, family: int) -> Why:
    by = f"ovs.mode={there.rules.mode_of(family)} of {there.name}"
    return Why(
        sentence=f"{by} lets nobody outside begin a connection to its containers; publish a port "
        "(`docker run -p`), or use ovs.mode=routed",
        by=by,
    )


def _closed(here: Home, opened: HostAccess) -> Why:
    by = f"ovs.host={here.rules.host} of {here.name}"
    how = {
        HostAccess.GATEWAY: "keeps the host's services from its containers",
        HostAccess.ALL: "keeps all of the host but their gateway from its containers",
    }[opened]
    return Why(sentence=f"{by} {how}; `ovsnet set {here.name} ovs.host={opened}` opens", by=by)


def _apart(here: Home, there: Home, family: int) -> Why:
    modes = {each.rules.mode_of(family) for each in (here, there)}
    if modes == {Mode.ROUTED}:
        closed = here if here.rules.isolate else there
        by = f"ovs.isolate=true of {closed.name}"
        cure_ = f"`ovsnet set {closed.name} ovs.isolate=false` opens it"
    else:
        closed = next(e for e in (there, here) if e.rules.mode_of(family) is not Mode.ROUTED)
        by = f"ovs.mode={closed.rules.mode_of(family)} of {closed.name}"
        cure_ = (
            f"put both containers on one (`docker network connect {there.name} …`), or publish a "
            "port"
        )
    return Why(sentence=f"{by} keeps {here.name} and {there.name} apart; {cure_}", by=by)


def _foreign(chain: BaseChain, judged: Judged) -> Why:
    path = judged.path
    name = path[-1] if path else chain.name
    comment = judged.rule.comment if judged.rule is not None else ""
    said = f" ({comment})" if comment else ""
    if DOCKER_USER in path:
        return Why(
            sentence=f"a rule of {DOCKER_USER}{said} drops it, to which ovsnet keeps; "
            f"`{chain.program} -S {DOCKER_USER}` shows it",
            by=f"a rule of {DOCKER_USER}",
        )
    if chain.table == "firewalld":
        by = "firewalld"
    elif any(each.startswith("ufw") for each in path):
        by = "ufw"
    elif not name:
        by = f"the policy of {title(chain, chain.name)}"
        if (chain.table, chain.name) == ("filter", chain.hook.upper()):
            by = f"the host's {chain.name} policy"
    else:
        by = f"a rule{said} of {title(chain, name)}"
    how = cure(chain) if chain.hook == "forward" else "let it pass there"
    return Why(sentence=f"{by} drops it; {how}", by=by)
