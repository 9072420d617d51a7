"""Where our accept stands in iptables' FORWARD, as ``iptables -S`` prints it."""

import shlex

import pytest

from ovsdriver.adapters.firewall.docker_user import Words, placing
from ovsdriver.domain.traffic.firewall import ACCEPT_MARK

COMMENT = "ovsnet: accepted by its nftables table"
MATCH = f"-m mark --mark {ACCEPT_MARK:#x}/{ACCEPT_MARK:#x}"
OURS = f"{MATCH} -m comment --comment '{COMMENT}' -j ACCEPT"
EARLIER = f"-m comment --comment '{COMMENT}' {MATCH} -j ACCEPT"
SECONDS = OURS.replace("ovsnet", "second")

USER, STAGE, SINCE_28 = (f"-j DOCKER-{name}" for name in ("USER", "ISOLATION-STAGE-1", "FORWARD"))
DOCKERS = "-i docker0 ! -o docker0 -j ACCEPT"
MINE = "-s 203.0.113.1/32 -j DROP"


def words(lines: list[str]) -> list[Words]:
    return [tuple(shlex.split(line)) for line in lines]


def obeyed(chains: dict[str, list[Words]], steps: list[Words]) -> None:
    """Change chains as iptables does; one accept is always there once it was."""
    (ours,) = words([OURS])
    for word, chain, *rest in steps:
        stood = ours in chains["FORWARD"]
        if word == "-I":
            chains[chain].insert(int(rest[0]) - 1, tuple(rest[1:]))
        else:
            chains[chain].remove(tuple(rest))
        assert ours in chains["FORWARD"] or not stood


@pytest.mark.parametrize(
    ("forward", "becomes"),
    [
        pytest.param([USER, STAGE, DOCKERS], [USER, STAGE, OURS, DOCKERS], id="none-yet"),
        pytest.param([USER, SINCE_28], [USER, SINCE_28, OURS], id="engine-28"),
        pytest.param([USER], [USER, OURS], id="without-isolation"),
        pytest.param([MINE, USER, STAGE], [MINE, USER, STAGE, OURS], id="behind-what-is-first"),
        pytest.param([USER, STAGE, MINE, OURS], [USER, STAGE, MINE, OURS], id="not-right-behind"),
        pytest.param([OURS, USER, STAGE], [USER, STAGE, OURS], id="before-docker-user"),
        pytest.param([USER, OURS, STAGE], [USER, STAGE, OURS], id="before-the-isolation"),
        pytest.param([OURS, OURS, USER], [USER, OURS], id="before-it-twice"),
        pytest.param([OURS, USER, OURS, DOCKERS], [USER, OURS, DOCKERS], id="on-both-sides"),
        pytest.param([USER, OURS, DOCKERS, OURS], [USER, DOCKERS, OURS], id="twice"),
        pytest.param([EARLIER, USER, EARLIER], [USER, OURS], id="in-other-words"),
        pytest.param([USER, SECONDS], [USER, OURS, SECONDS], id="another-instances"),
        pytest.param([USER, SECONDS, OURS], [USER, SECONDS, OURS], id="behind-another-instances"),
        pytest.param([USER, OURS, USER], [USER, OURS, USER], id="asked-twice"),
        pytest.param([DOCKERS], [DOCKERS], id="not-asked"),
        pytest.param([OURS, DOCKERS], [OURS, DOCKERS], id="not-asked-any-more"),
    ],
)
def test_one_accept_comes_behind_docker_user_and_dockers_isolation(
    forward: list[str], becomes: list[str]
) -> None:
    chains = {"FORWARD": words(forward), "DOCKER-USER": words(["-j RETURN"])}
    for _ in range(2):
        steps = placing(chains["FORWARD"], chains["DOCKER-USER"], comment=COMMENT)
        obeyed(chains, list(steps))
        assert chains["FORWARD"] == words(becomes)
    assert not steps, "and stays there"


def test_the_accept_that_earlier_versions_had_in_docker_user_goes_once_ours_stands() -> None:
    chains = {"FORWARD": words([USER]), "DOCKER-USER": words([OURS, SECONDS, MINE])}
    steps = placing(chains["FORWARD"], chains["DOCKER-USER"], comment=COMMENT)
    assert [step[:2] for step in steps] == [("-I", "FORWARD"), ("-D", "DOCKER-USER")]
    obeyed(chains, list(steps))
    assert chains == {"FORWARD": words([USER, OURS]), "DOCKER-USER": words([SECONDS, MINE])}
