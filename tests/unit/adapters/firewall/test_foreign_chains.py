"""What other people's chains do to what we accept, as read from nftables and iptables."""

import shlex
from typing import Any

import pytest

from ovsdriver.adapters.firewall.chain_readers import (
    forward_chains,
    from_nft,
    named_maps,
    spelled_out,
    targets,
)
from ovsdriver.adapters.firewall.docker_user import Listing
from ovsdriver.adapters.firewall.iptables_reader import from_iptables
from ovsdriver.domain.traffic.chains import BaseChain
from ovsdriver.domain.traffic.firewall import ACCEPT_MARK
from ovsdriver.domain.traffic.foreign_chains import crossing, drops, finding

GATEWAY, WAN = "ovg000000000001", "eth0"
OUT, BACK = crossing(family=4, gateway=GATEWAY, outgoing=WAN)
MARK = f"{ACCEPT_MARK:#x}"
OURS = f"-m mark --mark {MARK}/{MARK} -j ACCEPT"


def iptables(*lines: str, policy: str = "ACCEPT", assume_ours: bool = False) -> BaseChain:
    """FORWARD of iptables, of the rules that ``-S`` would print."""
    new = {line.split()[1] for line in lines} - {"FORWARD"}
    text = [f"-P FORWARD {policy}", *(f"-N {name}" for name in sorted(new)), *lines]
    listing = Listing(lines=tuple(tuple(shlex.split(line)) for line in text))
    return from_iptables("iptables", listing, assume_ours=assume_ours)


@pytest.mark.parametrize(
    ("policy", "lines"),
    [
        pytest.param("DROP", [], id="policy"),
        pytest.param("ACCEPT", ["-A FORWARD -j DROP"], id="drop"),
        pytest.param(
            "ACCEPT",
            ["-A FORWARD -j REJECT --reject-with icmp-host-prohibited"],
            id="reject",
        ),
        pytest.param(
            "DROP",
            ["-A FORWARD -i docker0 -j ACCEPT", "-A FORWARD ! -i ovg+ -j ACCEPT"],
            id="accepts-others-only",
        ),
        pytest.param(
            "DROP",
            ["-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"],
            id="accepts-answers-only",
        ),
        pytest.param("DROP", ["-A FORWARD -p tcp -j ACCEPT"], id="accepts-one-protocol-only"),
        pytest.param(
            "DROP",
            ["-A FORWARD -j LOG --log-prefix 'a b'", "-A FORWARD -j MARK --set-mark 1"],
            id="logs-and-marks",
        ),
        pytest.param(
            "ACCEPT",
            ["-A FORWARD -j mine", "-A mine -s 10.0.0.0/8 -j RETURN", "-A mine -j DROP"],
            id="perhaps-returns-then-drops",
        ),
        pytest.param(
            "DROP",
            ["-A FORWARD -j mine", "-A mine -j RETURN", "-A mine -j ACCEPT"],
            id="returns-to-the-policy",
        ),
        pytest.param(
            "DROP",
            ["-A FORWARD -g mine", "-A FORWARD -j ACCEPT", "-A mine -j LOG"],
            id="goes-and-does-not-come-back",
        ),
        pytest.param("DROP", ["-A FORWARD -m mark --mark 0x4000/0x4000 -j DROP"], id="other-mark"),
    ],
)
def test_iptables_that_certainly_drops_the_first_packet_is_found(
    policy: str, lines: list[str]
) -> None:
    assert drops(iptables(*lines, policy=policy), OUT)


@pytest.mark.parametrize(
    ("policy", "lines"),
    [
        pytest.param("ACCEPT", [], id="nothing"),
        pytest.param("DROP", [f"-A FORWARD {OURS}"], id="our-mark"),
        pytest.param(
            "DROP",
            ["-A FORWARD -j DOCKER-USER", f"-A DOCKER-USER {OURS}", "-A FORWARD -j DROP"],
            id="our-mark-in-docker-user",
        ),
        pytest.param("DROP", ["-A FORWARD -i ovg+ -j ACCEPT"], id="by-link"),
        pytest.param("DROP", [f"-A FORWARD -i {GATEWAY} -o eth+ -j ACCEPT"], id="by-both-links"),
        pytest.param(
            "DROP",
            ["-A FORWARD ! -i eth0 -m comment --comment 'x y' -j ACCEPT"],
            id="by-another-link",
        ),
        pytest.param("DROP", ["-A FORWARD -s 172.24.0.0/13 -j ACCEPT"], id="perhaps-by-address"),
        pytest.param("ACCEPT", ["-A FORWARD -i docker0 -j DROP"], id="drops-others"),
        pytest.param("ACCEPT", ["-A FORWARD -s 10.9.0.0/16 -j DROP"], id="perhaps-drops"),
        pytest.param(
            "ACCEPT", ["-A FORWARD -m conntrack --ctstate INVALID -j DROP"], id="drops-invalid"
        ),
        pytest.param("DROP", ["-A FORWARD -j NFQUEUE --queue-num 1"], id="someone-else-decides"),
        pytest.param(
            "ACCEPT",
            ["-A FORWARD -m limit --limit 5/sec -j mine", "-A mine -j DROP"],
            id="perhaps-jumps-to-a-drop",
        ),
    ],
)
def test_iptables_that_may_let_the_first_packet_pass_is_not(policy: str, lines: list[str]) -> None:
    assert not drops(iptables(*lines, policy=policy), OUT)


def test_a_chain_that_drops_only_answers_is_found_for_them() -> None:
    chain = iptables("-A FORWARD -i ovg+ -j ACCEPT", policy="DROP")
    assert not drops(chain, OUT)
    assert "answers" in finding(chain, (OUT, BACK))


def test_our_accept_may_be_read_behind_docker_user_before_it_stands() -> None:
    lines = ("-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN")
    dropping = (*lines, "-A FORWARD -j DROP")
    assert drops(iptables(*dropping), OUT)
    assert not drops(iptables(*dropping, assume_ours=True), OUT)
    assert drops(iptables(lines[0], "-A DOCKER-USER -j DROP", assume_ours=True), OUT)
    assert drops(iptables(*lines, policy="DROP"), OUT)
    assert not drops(iptables(*lines, policy="DROP", assume_ours=True), OUT)
    assert drops(iptables(policy="DROP", assume_ours=True), OUT), "there is no such chain"


def test_chains_that_jump_in_circles_end() -> None:
    assert not drops(iptables("-A FORWARD -j a", "-A a -j b", "-A b -j a"), OUT)


def nft(
    *rules: list[Any],
    policy: str = "drop",
    table: str = "filter",
    below: dict[str, list[Any]] | None = None,
) -> BaseChain:
    """A chain, and a rule for each of the chains below it."""
    chain = {"family": "inet", "table": table, "name": "forward", "policy": policy}
    others = {name: [{"expr": expressions}] for name, expressions in (below or {}).items()}
    return from_nft(chain, {"forward": [{"expr": each} for each in rules], **others})


def match(left: Any, right: Any, op: str = "==") -> Any:
    return {"match": {"op": op, "left": left, "right": right}}


def meta(key: str) -> Any:
    return {"meta": {"key": key}}


STATE, STATUS = ({"ct": {"key": key}} for key in ("state", "status"))
MASKED = {"&": [meta("mark"), ACCEPT_MARK]}
ACCEPT, DROP = {"accept": None}, {"drop": None}


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([], id="policy"),
        pytest.param([[{"counter": {"packets": 1}}, {"reject": {"type": "icmpx"}}]], id="reject"),
        pytest.param([[match(STATE, ["established", "related"], "in"), ACCEPT]], id="answers"),
        pytest.param(
            [[{"vmap": {"key": STATE, "data": {"set": [
                ["established", ACCEPT], ["related", ACCEPT], ["invalid", DROP]
            ]}}}]],
            id="answers-by-map",
        ),
        pytest.param([[match(meta("iifname"), {"set": ["eth0", "docker0"]}), ACCEPT]], id="others"),
        pytest.param([[match(meta("nfproto"), "ipv6"), ACCEPT]], id="other-family"),
        pytest.param([[match(meta("mark"), 1), {"xt": None}]], id="unknown-without-verdict"),
        pytest.param([[match(MASKED, 0), ACCEPT]], id="without-our-mark"),
        pytest.param([[match(STATUS, "dnat", "in"), ACCEPT]], id="published"),
        pytest.param(
            [[{"xt": {"type": "match", "name": "comment"}},
              {"xt": {"type": "target", "name": "REJECT"}}]],
            id="target-of-iptables",
        ),
    ],
)  # fmt: skip
def test_nftables_that_certainly_drops_the_first_packet_is_found(rules: list[list[Any]]) -> None:
    assert drops(nft(*rules), OUT)


@pytest.mark.parametrize(
    "rules",
    [
        pytest.param([[match(MASKED, ACCEPT_MARK), ACCEPT]], id="our-mark"),
        pytest.param([[match(meta("iifname"), "ovg*"), ACCEPT]], id="by-link"),
        pytest.param([[match(meta("oifname"), "lo", "!="), ACCEPT]], id="by-another-link"),
        pytest.param([[match(meta("iifname"), "@trusted"), ACCEPT]], id="perhaps-by-named-set"),
        pytest.param([[match(meta("mark"), 1), ACCEPT]], id="perhaps-by-mark"),
        pytest.param([[match(STATUS, "snat", "in"), ACCEPT]], id="perhaps-by-status"),
        pytest.param([[match(meta("mark"), {"set": [1, 2]}), ACCEPT]], id="perhaps-by-marks"),
        pytest.param([[{"limit": {"rate": 5}}, ACCEPT]], id="perhaps-by-rate"),
        pytest.param([[{"vmap": {"key": meta("iifname"), "data": "@zones"}}]], id="by-named-map"),
        pytest.param([[{"queue": {}}]], id="someone-else-decides"),
        pytest.param([[{"xt": {"type": "match", "name": "set"}}, ACCEPT]], id="perhaps-by-match"),
        pytest.param(
            [[match({"payload": {"protocol": "ip", "field": "saddr"}},
                    {"prefix": {"addr": "10.0.0.0", "len": 8}}), ACCEPT]],
            id="perhaps-by-address",
        ),
    ],
)  # fmt: skip
def test_nftables_that_may_let_the_first_packet_pass_is_not(rules: list[list[Any]]) -> None:
    assert not drops(nft(*rules), OUT)


def test_jumps_of_nftables_are_followed() -> None:
    chain = {"family": "ip", "table": "t", "name": "forward", "policy": "accept"}
    jump = {"expr": [{"jump": {"target": "deny"}}]}
    assert targets([jump]) == {"deny"}
    found = from_nft(chain, {"forward": [jump], "deny": [{"expr": [DROP]}]})
    assert "deny" in drops(found, OUT)


@pytest.mark.parametrize(
    ("pairs", "policy", "dropped"),
    [
        pytest.param([["docker0", {"jump": {"target": "deny"}}]], "accept", False, id="others"),
        pytest.param([["docker0", {"jump": {"target": "deny"}}]], "drop", True, id="policy"),
        pytest.param([["ovg*", {"jump": {"target": "deny"}}]], "accept", True, id="ours"),
        pytest.param([["ovg*", ACCEPT]], "drop", False, id="accepted"),
        pytest.param([], "drop", True, id="empty, or gone"),
    ],
)
def test_named_verdict_maps_are_looked_in(pairs: list[Any], policy: str, dropped: bool) -> None:
    chain = {"family": "ip", "table": "t", "name": "forward", "policy": policy}
    rules = [{"expr": [{"vmap": {"key": meta("iifname"), "data": "@jumps"}}]}, {"expr": []}]
    assert named_maps(rules) == {"jumps"}
    spelled = spelled_out(rules, {"jumps": pairs})
    assert targets(spelled) == {"deny" for _, verdict in pairs if "jump" in verdict}
    found = from_nft(chain, {"forward": spelled, "deny": [{"expr": [DROP]}]})
    assert bool(drops(found, OUT)) is dropped


def test_only_routed_packets_at_the_forward_hook_and_only_chains_of_others_matter() -> None:
    def chain(**changes: str) -> dict[str, str]:
        return {"family": "inet", "table": "t", "name": "c", "hook": "forward"} | changes

    wanted = [chain(), chain(family="ip"), chain(family="ip6"), chain(family="ip", table="ovsnet")]
    others = [
        chain(hook="input"),
        chain(family="bridge"),
        chain(table="ovsnet"),
        {"family": "inet", "table": "t", "name": "regular"},
    ]
    assert forward_chains([*others, *wanted], own_tables=("ovsnet",)) == wanted


def test_a_family_that_a_chain_does_not_see_is_not_dropped_by_it() -> None:
    six = crossing(family=6, gateway=GATEWAY, outgoing=WAN)
    assert not finding(iptables(policy="DROP"), six)
    assert finding(nft(), six)


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        pytest.param(
            iptables(policy="DROP"),
            ["iptables chain FORWARD", "policy is drop", f"type: iptables -I FORWARD {OURS}"],
            id="iptables",
        ),
        pytest.param(
            iptables("-A FORWARD -j ufw-before-forward", "-A ufw-before-forward -j DROP"),
            ["chain ufw-before-forward", "/etc/ufw/before.rules", "type: ufw reload"],
            id="ufw",
        ),
        pytest.param(
            iptables("-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j mine", "-A mine -j DROP"),
            [
                "iptables chain DOCKER-USER drops",
                "a rule of chain mine",
                "ovsnet keeps to it",
                f"type: iptables -I DOCKER-USER {OURS}",
            ],
            id="docker-user",
        ),
        pytest.param(
            iptables("-A FORWARD -j DROP", "-A FORWARD -j DOCKER-USER", "-A DOCKER-USER -j RETURN"),
            [
                "iptables chain FORWARD drops",
                f"type: iptables -I FORWARD {OURS} && iptables -I FORWARD -j DOCKER-USER",
            ],
            id="before-docker-user",
        ),
        pytest.param(
            nft(
                [{"jump": {"target": "DOCKER-USER"}}],
                policy="accept",
                below={"DOCKER-USER": [DROP]},
            ),
            [
                "nftables chain inet filter DOCKER-USER drops",
                "type: nft insert rule inet filter DOCKER-USER",
            ],
            id="docker-user-of-a-host-without-iptables",
        ),
        pytest.param(nft(), ["nftables chain inet filter forward", "type: nft insert"], id="nft"),
        pytest.param(
            nft([DROP], policy="accept", table="firewalld"),
            ["nftables chain inet firewalld forward", "type: ovsnet firewalld"],
            id="firewalld",
        ),
    ],
)
def test_a_finding_says_what_drops_and_what_to_type(chain: BaseChain, words: list[str]) -> None:
    text = finding(chain, (OUT, BACK))
    assert not [word for word in words if word not in text], text


def test_a_packet_whose_way_is_not_known_gets_the_benefit_of_the_doubt() -> None:
    nowhere, _ = crossing(family=4, gateway=GATEWAY, outgoing="")
    assert not drops(iptables("-A FORWARD -o eth0 -j ACCEPT", policy="DROP"), nowhere)
    assert drops(iptables(policy="DROP"), nowhere)
