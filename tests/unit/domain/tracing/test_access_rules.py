"""Which access rule it is that drops."""

from collections.abc import Mapping
from typing import Any

import pytest
from netaddr import IPAddress, IPNetwork

from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import Mode
from ovsdriver.domain.tracing import rules
from ovsdriver.domain.tracing.hops import Hop, Kind, Place, Question, Verdict
from ovsdriver.domain.traffic.chains import NO_LINK, PROTOCOLS, Packet
from ovsdriver.domain.wires import desired
from ovsdriver.words import access_words
from tests.builders import FIRST, RED, SECOND, a_network, a_segment, an_endpoint

HERE = Place(name="firewall", kind=Kind.RULES)
GATEWAY = names.gateway_link(RED)
WEB, OUT = "10.1.0.2", "203.0.113.9"


def ruled(
    *, mode: Mode = Mode.NAT, learnt: Mapping[str, Any] | None = None, **said: str
) -> rules.AccessRules:
    """Return the rules of ``lab/web``, beside which there is ``lab/db`` without any."""
    web = an_endpoint(FIRST, **{k: access_words.parse(v) for k, v in said.items()})
    db = an_endpoint(SECOND, addresses=(IPNetwork("10.1.0.3/24"),))
    home = a_network(mode=mode, segment=a_segment(tag=5))
    plan = desired.access([home], [web, db], called={SECOND: "db"})
    return rules.AccessRules(
        plan=plan,
        names={FIRST: "lab/web", SECOND: "lab/db"},
        learnt={each.key: learnt or {} for each in plan.policies},
        ways_out=frozenset({"br-wan"}),
    )


def crosses(
    there: rules.AccessRules,
    asked: str = "icmp",
    *,
    to: str = OUT,
    source: str = WEB,
    by: str = GATEWAY,
    out: str = "eth0",
    kind: str = "",
) -> list[Hop]:
    """Return what is said of a packet; ``kind`` is that of the link which is no gateway."""
    protocol, _, port = asked.partition("/")
    packet = Packet(
        family=4,
        incoming=by,
        outgoing=out,
        incoming_kind="" if by == GATEWAY else kind,
        outgoing_kind="" if out == GATEWAY else kind,
        state="new",
        protocol=PROTOCOLS[protocol],
        source=IPAddress(source),
        destination=IPAddress(to),
        port=int(port) if port else None,
    )
    return list(there.across(HERE, packet))


def verdicts(hops: list[Hop]) -> list[tuple[Verdict, str]]:
    return [(each.verdict, each.by) for each in hops]


STOP, PASS = Verdict.STOP, Verdict.PASS


@pytest.mark.parametrize(
    ("said", "asked", "verdict", "rule"),
    [
        ({"deny": "203.0.113.0/24"}, "tcp/80", STOP, "to 203.0.113.0/24"),
        ({"deny": "203.0.113.0/24 udp"}, "tcp/80", None, ""),
        ({"deny": "any tcp/1-100"}, "tcp/80", STOP, "to any tcp/1-100"),
        ({"deny": "any tcp/81"}, "tcp/80", None, ""),
        ({"deny": "any icmp"}, "icmp", STOP, "to any icmp"),
        ({"deny": "any tcp"}, "sctp/9", None, ""),
        ({"deny": "any"}, "sctp/9", STOP, "to any"),
        ({"deny": "outside"}, "udp/53", STOP, "to outside"),
        ({"deny": "host"}, "udp/53", None, ""),
        ({"deny": "from any"}, "udp/53", None, ""),
        ({"allow": "any tcp"}, "tcp/80", PASS, "to any tcp"),
        ({"allow": "any", "deny": "any"}, "tcp/80", STOP, "to any"),
        ({"allow": "from any"}, "tcp/80", None, ""),
    ],
)
def test_the_rule_that_decides_is_named(said, asked, verdict, rule):
    found = verdicts(crosses(ruled(**said), asked))
    wanted = [] if verdict is None else [(verdict, f'rule "{rule}" of lab/web')]
    assert found[:1] == wanted


def test_what_no_rule_is_about_is_dropped_where_anything_is_allowed():
    (hop,) = crosses(ruled(allow="10.9.0.0/16 tcp/443"), "tcp/80")
    assert (hop.verdict, hop.by) == (STOP, "access rules of lab/web")
    assert hop.sentence == (
        'no rule of lab/web allows "to 203.0.113.9 tcp/80"; `ovsnet rules show lab/web` lists them'
    )


def test_a_dns_name_lets_in_what_was_asked_for():
    known = {"example.com": (IPAddress(OUT),)}
    (hop,) = crosses(ruled(allow="example.com tcp/443", learnt=known), "tcp/443")
    assert (hop.verdict, hop.by) == (PASS, 'rule "to example.com tcp/443" of lab/web')
    (hop,) = crosses(ruled(allow="example.com tcp/443"), "tcp/443")
    assert hop.verdict is STOP
    assert "it was told 203.0.113.9 for no name that it may reach (example.com)" in hop.sentence
    (hop,) = crosses(ruled(allow="example.com tcp/443", learnt=known), "tcp/80")
    assert "example.com" not in hop.sentence


@pytest.mark.parametrize(
    ("way", "passes"),
    [
        pytest.param({"out": "eth0"}, "outside", id="a wire"),
        pytest.param({"out": "br-wan", "kind": "bridge"}, "outside", id="a bridge with a wire"),
        pytest.param({"out": "docker0", "kind": "bridge"}, "", id="other people's containers"),
        pytest.param({"out": "ovg000000000002"}, "", id="another network of ours"),
        pytest.param({"out": ""}, "host", id="this host"),
    ],
)
def test_who_is_beyond_is_seen_by_the_link(way, passes):
    for zone in ("outside", "host"):
        (hop,) = crosses(ruled(allow=zone), **way)
        assert (hop.verdict is PASS) == (zone == passes)


def test_what_others_begin_is_judged_by_who_they_are():
    there = ruled(allow="from host, from 203.0.113.0/24 tcp/80")
    came = {"to": WEB, "out": GATEWAY}
    assert crosses(there, "tcp/80", source=OUT, by="eth0", **came)[0].verdict is PASS
    assert crosses(there, "tcp/81", source=OUT, by="eth0", **came)[0].verdict is STOP
    assert crosses(there, "tcp/81", source="10.1.0.1", by=NO_LINK, **came)[0].verdict is PASS
    assert crosses(there, "tcp/80", source=WEB, by=GATEWAY) == []


def test_on_one_bridge_both_ends_have_a_word():
    there = ruled(allow="container:db tcp/5432, from any")
    both = (FIRST, SECOND), (IPAddress(WEB), IPAddress("10.1.0.3"))
    back = (SECOND, FIRST), (IPAddress("10.1.0.3"), IPAddress(WEB))

    def said(way: Any, port: int) -> list[tuple[Verdict, str]]:
        asked = Question(protocol="tcp", port=port)
        return verdicts(list(rules.between(there, HERE, *way, asked)))

    assert said(both, 5432) == [(PASS, 'rule "to container:db tcp/5432" of lab/web')]
    assert said(both, 5433) == [(STOP, "access rules of lab/web")]
    assert said(back, 80) == [(PASS, 'rule "from any" of lab/web')]


def test_only_a_name_server_at_the_gateway_answers_who_has_names():
    asked = Question(protocol="udp", port=53)
    for there, ours in (
        (ruled(allow="example.com"), True),
        (ruled(allow="10.0.0.0/8"), False),
        (ruled(mode=Mode.FLAT, allow="10.0.0.0/8"), False),
    ):
        (member,) = there.plan.members
        assert there.asks_us(member, asked) is ours
        assert not there.asks_us(member, Question(protocol="tcp", port=80))
        assert "lab/web" in rules.answered_here(member, there).sentence
