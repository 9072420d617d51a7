"""DNS names in access rules: a container reaches what it may ask for, and nothing else."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e import labs, names, stream
from tests.e2e.bed import OUTSIDE_PORT, WAN4, Bed
from tests.e2e.names import RESOLVE, SERVER4, SERVER6, Names
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

API4, API6 = "192.0.2.10", "2001:db8:ffff::10"
CDN, FILES, SECRET, MORE, FORGED = (f"192.0.2.{last}" for last in (11, 12, 13, 14, 66))
RULES = f"api.test tcp/{OUTSIDE_PORT} + api.test tcp/7 + www.test + *.files.test"
ZONE = (
    f"api.test. 300 IN A {API4}",
    f"api.test. 300 IN AAAA {API6}",
    "www.test. 300 IN CNAME edge.cdn.test.",
    f"edge.cdn.test. 300 IN A {CDN}",
    f"a.files.test. 300 IN A {FILES}",
    f"files.test. 300 IN A {SECRET}",
    f"secret.test. 300 IN A {SECRET}",
    f"more.test. 300 IN A {MORE}",
)
PORT = 61053
MIRROR = str(Path(__file__).parents[1] / "mirror.py")


@pytest.fixture
def said(bed: Bed) -> Iterator[Names]:
    with names.answering(bed, API4, API6, CDN, FILES, SECRET, MORE, FORGED) as found:
        found.say(*ZONE)
        yield found


def network(stage: Stage) -> Network:
    six = ("--ipv6", "--subnet", "fd00:77:1::/64")
    return stage.network("lab", *six, subnet="10.77.1.0/24")


def agent(stage: Stage, network: Network, rules: str = RULES, *options: str) -> Container:
    where = f"name={network.name},driver-opt=ovs.allow={rules}"
    return stage.container("agent", where, "--dns", SERVER4, *options)


def fetched(container: Container, name: str, port: int = OUTSIDE_PORT) -> bool:
    """Whether a page comes from a name, which is looked up as programs do."""
    url = f"http://{name}:{port}/"
    said = ("docker", "exec", container.name, "wget", "-q", "-T", "2", "-O", "-", url)
    return container.world.attempt(*said).code == 0


def lookup(place: Place, name: str, kind: str = "A", *, at: str = SERVER4, by: str = "udp") -> str:
    """Return what a server answers; it is asked from there without Docker's in between."""
    return place.world.attempt(sys.executable, RESOLVE, at, name, kind, by, netns=place.netns).out


def served(container: Place, *addresses: str) -> list[str]:
    """Return those of some addresses that answer; all are asked at once."""
    with ThreadPoolExecutor(len(addresses)) as pool:
        answers = pool.map(lambda each: container.asks(each, OUTSIDE_PORT), addresses)
        return [each for each, answer in zip(addresses, answers, strict=True) if answer]


def test_a_sandbox_reaches_its_names_and_nothing_else_while_an_administrator_adds_one(
    bed: Bed, stage: Stage, said: Names
) -> None:
    lab = network(stage)
    a, other = agent(stage, lab), stage.container("other", lab, "--dns", SERVER4)

    # before anybody asked, and by the bare address: nothing
    assert not served(a, API4, API6, SECRET)
    assert fetched(a, "api.test")
    assert served(a, API4, API6, SECRET) == [API4, API6]
    assert not a.pings(API4)
    assert fetched(a, "www.test")
    assert fetched(a, "a.files.test")
    assert not any(fetched(a, each) for each in ("files.test", "secret.test", "more.test"))
    # whomever it asks, it asks us
    for at, by in (
        (SERVER4, "tcp"),
        ("192.0.2.99", "udp"),
        (lab.gateway(), "udp"),
        (SERVER6, "udp"),
        (SERVER6, "tcp"),
    ):
        assert lookup(a, "api.test", at=at, by=by) == f"NOERROR {API4}", (at, by)
    assert lookup(a, "secret.test", by="tcp") == "REFUSED"
    assert lookup(a, "secret.test", "TXT") == "REFUSED"
    assert lookup(a, "nothing.files.test") == "NXDOMAIN"
    assert "secret.test" not in said.asked()

    # who has no rules notices nothing
    assert fetched(other, "secret.test")

    with stream.held(bed, "up", a, Place(bed, "outside", bed.outside), API4) as up:
        bed.ovsnet("set", "agent", f"ovs.allow={RULES} + more.test")
        assert fetched(a, "more.test")
        up.goes_on()
        # as `nft flush ruleset` does, but for Docker's own
        bed.nft("delete table inet ovsnet; delete table inet ovsnet.rules")
        until(lambda: served(a, API4) == [API4], "what was learnt is known again")
        up.goes_on()
        bed.restart_plugin()
        up.goes_on()
        assert served(a, API4, API6, MORE, SECRET) == [API4, API6, MORE]
        assert fetched(a, "a.files.test")
        assert "nothing" in bed.ovsnet("reconcile", "--dry-run").lower()
        bed.ovsnet("set", "agent", "ovs.allow=more.test")
        up.stands_still()
    assert served(a, API4, MORE) == [MORE]
    bed.ovsnet("set", "agent", "ovs.allow=")
    assert fetched(a, "secret.test")


def test_forged_and_stray_answers_open_nothing_and_nobody_else_can_ask(
    bed: Bed, stage: Stage, said: Names
) -> None:
    lab = network(stage)
    a = agent(stage, lab)
    outside = Place(bed, "outside", bed.outside)
    said.say("; forge", *ZONE)
    assert lookup(a, "api.test") == f"NOERROR {API4}"
    assert served(a, API4, FORGED) == [API4]
    # what nobody elsewhere has, the host's own, and what answers about others
    own = [WAN4, lab.gateway(), "127.0.0.1", "169.254.169.254", "0.0.0.0"]
    said.say(*(f"b.files.test. 1 IN A {each}" for each in (*own, FILES)))
    assert lookup(a, "b.files.test") == f"NOERROR {FILES}"
    assert not any(a.asks(each, 80) for each in own[:2])
    # the server is there for containers whose rules have names
    at = f"{lab.gateway()}:{PORT}"
    assert f":{PORT}" in bed.run("ss", "-lnu"), at
    bed.ip("route", "add", "10.77.1.0/24", "via", WAN4, netns=bed.outside)
    for place in (outside, Place(bed, "the host"), stage.container("other", lab)):
        for address in (lab.gateway(), WAN4):
            asked = bed.attempt(*(sys.executable, "-c", ASK, address, str(PORT)), netns=place.netns)
            assert asked.out != "answered", (place.name, address)
    bed.ip("route", "del", "10.77.1.0/24", netns=bed.outside)


ASK = """
import sys, dns.message, dns.query
query = dns.message.make_query("api.test", "A")
dns.query.udp(query, sys.argv[1], port=int(sys.argv[2]), timeout=1)
print("answered")
"""


@pytest.mark.long
def test_an_agents_sandbox_reaches_two_names(bed: Bed) -> None:
    labs.import_images(bed)
    https = Program(bed, "https", sys.executable, MIRROR, "443", netns=bed.outside)
    https.start()
    until(lambda: "listening" in https.said(), "the outside serves")
    try:
        with (
            names.answering(bed, API4, API6, CDN, SECRET, MORE) as said,
            labs.up(bed, "sandbox.yaml") as lab,
        ):
            said.say(
                f"api.github.com. 60 IN A {API4}",
                f"api.github.com. 60 IN AAAA {API6}",
                "pypi.org. 60 IN CNAME cdn.test.",
                f"cdn.test. 60 IN A {CDN}",
                f"secret.test. 60 IN A {SECRET}",
                f"files.pythonhosted.org. 60 IN A {MORE}",
            )
            a = lab.container("agent")
            every = {"api.github.com", "pypi.org", "secret.test", "files.pythonhosted.org"}

            def reached() -> set[str]:
                return {each for each in every if fetched(a, each, 443)}

            assert reached() == {"api.github.com", "pypi.org"}
            at = [each for each in (API4, API6, CDN, SECRET, MORE) if a.asks(each, 443)]
            assert at == [API4, API6, CDN]
            assert not served(a, API4)
            rules = "api.github.com tcp/443, pypi.org tcp/443, *.pythonhosted.org tcp/443"
            bed.ovsnet("set", "sandbox_box", f"ovs.allow={rules}")
            assert reached() == every - {"secret.test"}
            assert "pypi.org tcp/443" in bed.ovsnet("rules", "show", "sandbox-agent-1")
            bed.daemons["ovs-vswitchd"].restart()  # its gateway is another device then
            until(lambda: reached() == every - {"secret.test"}, "names are answered again")
    finally:
        https.stop()
        https.log.unlink()


@pytest.mark.long
def test_where_docker_asks_by_itself_nothing_is_opened_and_what_to_type_is_told(
    bed: Bed, stage: Stage
) -> None:
    lab = network(stage)
    before = bed.run("cat", "/run/resolv.conf")
    bed.run("sh", "-c", "echo nameserver 127.0.0.1 >/run/resolv.conf")
    try:
        with names.answering(bed, API4, by_host=True) as said:
            said.say(*ZONE)
            where = f"name={lab.name},driver-opt=ovs.allow=api.test"
            a = stage.container("agent", where)
            assert API4 in a.execute("nslookup", "api.test")
            assert not served(a, API4)
            assert "--dns GATEWAY" in bed.try_ovsnet("check").out
            words = bed.try_ovsnet("trace", "agent", "dns").out.split()
            said_to_type = words[words.index("--dns") : words.index("--dns") + 2]
            until(
                lambda: "container agent: Docker asks 127.0.0.1" in bed.ovsnet("reconcile"),
                "it is told",
            )
            assert " ".join(said_to_type) in bed.try_ovsnet("check", "agent", "--json").out
            bed.docker("rm", "--force", "agent")
            a = stage.container("agent", where, *said_to_type)
            assert fetched(a, "api.test")
            assert "passes" in bed.ovsnet("check", "agent")
    finally:
        bed.run("sh", "-c", f"echo '{before}' >/run/resolv.conf")
