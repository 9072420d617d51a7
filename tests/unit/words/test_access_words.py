import re

import pytest
from netaddr import IPNetwork

from ovsdriver.domain.records.options.access import AccessProtocol, AccessRule, PeerKind, Side
from ovsdriver.words import access_words


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("any", AccessRule()),
        ("FROM any", AccessRule(side=Side.FROM)),
        (
            "to 10.1.0.0/16",
            AccessRule(peer=PeerKind.PREFIX, prefix=IPNetwork("10.1.0.0/16")),
        ),
        (
            "10.1.0.5 TCP/443",
            AccessRule(
                peer=PeerKind.PREFIX,
                prefix=IPNetwork("10.1.0.5/32"),
                protocol=AccessProtocol.TCP,
                first_port=443,
                last_port=443,
            ),
        ),
        ("fd00::5", AccessRule(peer=PeerKind.PREFIX, prefix=IPNetwork("fd00::5/128"))),
        (
            "  fd00:1::/48   udp/5000-5010 ",
            AccessRule(
                peer=PeerKind.PREFIX,
                prefix=IPNetwork("fd00:1::/48"),
                protocol=AccessProtocol.UDP,
                first_port=5000,
                last_port=5010,
            ),
        ),
        ("host icmp", AccessRule(peer=PeerKind.HOST, protocol=AccessProtocol.ICMP)),
        ("outside udp", AccessRule(peer=PeerKind.OUTSIDE, protocol=AccessProtocol.UDP)),
        (
            "from container:Web_1.a",
            AccessRule(side=Side.FROM, peer=PeerKind.CONTAINER, name="Web_1.a"),
        ),
        ("network:lab_default", AccessRule(peer=PeerKind.NETWORK, name="lab_default")),
        ("API.GitHub.com.", AccessRule(peer=PeerKind.NAME, name="api.github.com")),
        ("*.example.com", AccessRule(peer=PeerKind.NAME, name="*.example.com")),
        ("*.com", AccessRule(peer=PeerKind.NAME, name="*.com")),
        ("_dmarc.xn--bcher-kva.example", None),
    ],
)
def test_a_rule_says_who_begins_with_whom_by_what(typed, rule):
    read = access_words.rule(typed)
    assert rule is None or read == rule
    assert access_words.rule(read.text) == read


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", '"" is no rule'),
        ("to", '"to" is no rule'),
        ("any tcp/80 udp/80", "write it like to 10.1.0.0/16 tcp/443"),
        ("from example.com", "DNS does not tell who begins"),
        ("web", "write container:web or network:web, or a DNS name, which has a dot"),
        ("outsid", "did you mean `outside`?"),
        ("*", '"*" names nobody'),
        ("container:", "letters, digits"),
        ("network:a b", "none of tcp, udp, icmp"),
        ("10.1.0.0/33", "is no address"),
        ("10.1.0.5/16", "has host bits; write 10.1.0.0/16"),
        ("10.1.0", "is no address"),
        ("10.1.0.1-10.1.0.9", "is no address"),
        ("10.1.0.5.", "is no address"),
        ("::ffff:10.1.0.5", "is of IPv4"),
        ("https://example.com", "is no address"),
        ("fe80::g", "is no address"),
        ("a..example.com", "is no DNS name"),
        ("a.*.example.com", "is no DNS name"),
        ("-a.example.com", "is no DNS name"),
        ("bücher.example", "as xn--… where it has other letters"),
        (f"{'a' * 64}.example", "is no DNS name"),
        (".".join(["a" * 60] * 5), "is no DNS name"),
        ("any /443", "none of tcp, udp, icmp, tcp/443"),
        ("any sctp/80", "none of tcp, udp, icmp"),
        ("any icmp/8", "none of tcp, udp, icmp"),
        ("any tcp/", "is not a port: 1 to 65535"),
        ("any tcp/0", "is not a port: 1 to 65535"),
        ("any tcp/80-70000", "is not a port: 1 to 65535"),
        ("any tcp/90-80", "is not a range; write tcp/80-90"),
    ],
)
def test_what_is_no_rule_is_refused_with_what_would_be_one(typed, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        access_words.rule(typed)


@pytest.mark.parametrize("separator", [",", ";", "+", " , "])
def test_rules_are_separated_as_other_lists_are_and_each_stands_once(separator):
    read = access_words.parse(separator.join(["any tcp/80", "from host", "to any tcp/80"]))
    assert access_words.text(read) == "to any tcp/80, from host"
    assert access_words.parse(access_words.text(read)) == read


def test_names_of_sets_are_words():
    assert access_words.sets("agent, base+agent") == ("agent", "base")
    with pytest.raises(ValueError, match="cannot be used here"):
        access_words.sets("agent,")
