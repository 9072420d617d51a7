"""``ovsnet trace``: what is asked of whom, and what is told; the reasons are the domain's."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.engine import DockerEngine, SeenContainer
from ovsdriver.adapters.firewall import ruleset
from ovsdriver.adapters.kernel.host.host_view import LiveHost
from ovsdriver.adapters.kernel.sandbox import sandbox_view
from ovsdriver.adapters.ovs.openflow import encoding
from ovsdriver.admin import asks
from ovsdriver.admin.access.views import Access
from ovsdriver.admin.views import Report
from ovsdriver.cli.doctor import rpc
from ovsdriver.cli.look import bridges, tracer
from ovsdriver.domain.records.model import HostAccess, Mode, NetworkId, Publication, Transport
from ovsdriver.domain.records.names import gateway_link
from ovsdriver.domain.records.options.port_options import PortOptions
from ovsdriver.domain.tracing.containers import Inside
from ovsdriver.domain.tracing.hops import Question
from ovsdriver.domain.tracing.host_view import Route, RouteFault
from ovsdriver.domain.traffic.chains import BaseChain
from ovsdriver.domain.traffic.firewall import HostNetwork
from ovsdriver.domain.wires import desired
from ovsdriver.errors import UnavailableError
from ovsdriver.words import access_words
from tests.builders import a_subnet
from tests.unit.cli.conftest import Desk, Shell
from tests.unit.cli.reports import DB, LAB, OLD, WEB, endpoint, network

WEB_MAC, DB_MAC = "0a:0f:0a:01:00:02", "0a:0f:0a:01:00:03"
FORWARDS = "Flow: tcp\n\nFinal flow: unchanged\nDatapath actions: push_vlan(vid=7),3\n"


class Host:
    """What a host's sandboxes and its switch answer, and what they were asked."""

    def __init__(self) -> None:
        self.looks: list[tuple[str, str, IPAddress | None, Question]] = []
        self.listens = True
        self.hidden: set[str] = set()
        self.said = FORWARDS
        self.asked: list[tuple[str, str, list[str]]] = []
        self.elsewhere = ""
        """The router that containers have on another network than ours."""
        self.rules: Sequence[BaseChain] | None = None
        self.desk = Desk()

    async def standing(self) -> Sequence[BaseChain]:
        return self.wanted() if self.rules is None else self.rules

    def wanted(self) -> Sequence[BaseChain]:
        """The rules that there should be."""
        there = self.desk.there
        networks = [each.network for each in there.networks]
        plan = desired.firewall(networks, [each.endpoint for each in there.endpoints])
        return ruleset.wanted(plan, HostNetwork(), table="ovsnet")

    def look(
        self, sandbox: str, mac: EUI, target: IPAddress | None, asked: Question
    ) -> Inside | None:
        self.looks.append((sandbox, str(mac), target, asked))
        if sandbox in self.hidden:
            return None
        own = IPNetwork("10.1.0.2/24" if mac == EUI(WEB_MAC) else "10.1.0.3/24")
        near = target is None or target in IPNetwork("10.1.0.0/24") or target.version == 6
        return Inside(
            up=True,
            addresses=(
                own,
                IPNetwork("10.2.0.3/24"),
                *map(IPNetwork, ("fd00::2/64", "fd00::3/64")),
            ),
            way=IPNetwork("10.1.0.0/24" if near else "0.0.0.0/0"),
            through_this=not self.elsewhere or near,
            via=None if near else IPAddress(self.elsewhere or "10.1.0.1"),
            mtu=1500,
            listens=None if asked.port is None else self.listens,
        )

    async def ask(self, address: str, method: str, params: list[str]) -> object:
        self.asked.append((address, method, params))
        if not self.said:
            raise rpc.RpcError("no answer")
        return self.said


class View(LiveHost):
    """A host with the gateway of ``lab``, a wire and its router; its rules are those it should
    have."""

    def __init__(self, chains: Sequence[BaseChain]) -> None:
        self.chains = chains
        self._mine = {
            "10.1.0.1": gateway_link(NetworkId(LAB)),
            "10.2.0.1": gateway_link(NetworkId(OLD)),
            "192.0.2.1": "eth0",
            "10.9.0.1": "docker_gwbridge",
        }

    def is_local(self, address: IPAddress) -> bool:
        return str(address) in self._mine or address.is_loopback()

    def holder(self, address: IPAddress) -> str:
        return self._mine.get(str(address), "")

    def has(self, link: str, address: IPAddress) -> bool:
        return self.holder(address) == link

    def first(self, link: str, family: int) -> IPAddress | None:
        found = (at for at, on in self._mine.items() if on == link and family == 4)
        return next(map(IPAddress, found), None)

    def kind(self, link: str) -> str:
        return "bridge" if link.startswith("docker") else ""

    def mtu(self, link: str) -> int:
        return 1400

    def up(self, link: str) -> bool:
        return True

    def mac(self, link: str) -> str:
        return "0a:00:00:00:00:01"

    def route(
        self, target: IPAddress, *, source: IPAddress | None = None, incoming: str = ""
    ) -> Route:
        if target.version == 6:
            return Route(fault=RouteFault.NO_ROUTE)
        for at in ("10.1.0.1", "10.2.0.1"):
            if target in IPNetwork(f"{at}/24"):
                return Route(link=self._mine[at], source=IPAddress(at))
        return Route(link="eth0", gateway=IPAddress("192.0.2.254"), source=IPAddress("192.0.2.1"))

    def returns(self, source: IPAddress, link: str) -> bool:
        return True

    def not_forwarding(self, link: str, family: int) -> str:
        return ""


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    made = Host()
    monkeypatch.setattr(sandbox_view, "look", made.look)
    monkeypatch.setattr(bridges.rpc, "ask", made.ask)
    monkeypatch.setattr(tracer.ruleset, "standing", made.standing)
    monkeypatch.setattr(tracer, "read_host", lambda *_: HostNetwork())
    monkeypatch.setattr(tracer, "LiveHost", lambda _, chains: View(chains))
    (tmp_path / "ovs-vswitchd.7.ctl").touch()
    return made


def say(desk: Desk, *, of_network: Any = None, of_endpoint: Any = None, sink: str = "") -> None:
    """Change the records of all networks and endpoints."""
    desk.there = Report(
        networks=tuple(
            replace(each, network=replace(each.network, **(of_network or {})))
            for each in desk.there.networks
        ),
        endpoints=tuple(
            replace(
                each,
                endpoint=replace(each.endpoint, **(of_endpoint or {})),
                port=replace(each.port, sink=sink or None),
            )
            for each in desk.there.endpoints
        ),
    )


@pytest.fixture
def told(shell: Shell, desk: Desk, host: Host, tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Ask, and return the exit code and all that is told."""
    host.desk = desk
    desk.there = Report(
        networks=(
            network("lab", LAB),
            network(
                *("dmz", OLD),
                vlan=101,
                subnets=(a_subnet("10.2.0.0/24", "10.2.0.1"),),
                gateway_link=gateway_link(NetworkId(OLD)),
            ),
        ),
        endpoints=(
            endpoint("web", WEB, mac=WEB_MAC, sandbox="/ns/web", ofport=7),
            endpoint(
                *("db", DB), mac=DB_MAC, sandbox="/ns/db", ofport=8, addresses=("10.1.0.3/24",)
            ),
        ),
    )

    def ask(*words: str) -> tuple[int, str]:
        done = shell("trace", *words, "--ovsdb", f"unix:{tmp_path}/db.sock")
        return done.exit_code, done.stdout + done.stderr

    return ask


def test_who_reaches_whom_is_told_step_by_step(told, host: Host, tmp_path: Path):
    code, text = told("web", "db", "tcp/5432")
    assert code == 0, text
    *steps, empty, last = text.splitlines()
    assert {step[0] for step in steps} == {"✔"}
    assert "web is plugged into br-ovsnet, VLAN 100, for lab" in steps[0]
    assert "datapath actions: push_vlan(vid=7),3" in text
    assert "a program listens on tcp/5432 in db" in steps[-1]
    assert (empty, last) == ("", "web reaches db (tcp/5432), as far as this host can tell")
    # the port is asked of who is to listen, and of nobody else
    assert host.looks == [
        ("/ns/web", WEB_MAC, IPAddress("10.1.0.3"), Question(protocol="tcp")),
        ("/ns/db", DB_MAC, IPAddress("10.1.0.2"), Question(protocol="tcp", port=5432)),
    ]
    ((address, method, (bridge, packet)),) = host.asked
    assert (address, method) == (f"unix:{tmp_path}/ovs-vswitchd.7.ctl", "ofproto/trace")
    assert (bridge, packet) == (
        "br-ovsnet",
        f"in_port=7,tcp,dl_src={WEB_MAC},dl_dst={DB_MAC},nw_src=10.1.0.2,nw_dst=10.1.0.3,"
        "nw_ttl=64,tp_src=40000,tp_dst=5432",
    )


@pytest.mark.parametrize(
    ("word", "packet"),
    [
        pytest.param("ping", "icmp,", id="ping"),
        pytest.param("ICMP", "icmp,", id="capitals"),
        pytest.param("udp/53", "udp,", id="udp"),
        pytest.param("sctp/9", "sctp,", id="sctp"),
    ],
)
def test_the_bridge_is_asked_about_such_a_packet(told, host: Host, word: str, packet: str):
    assert told("web", "db", word)[0] == 0
    assert packet in host.asked[0][2][1]


def test_ipv6_is_asked_about_where_there_is_nothing_else(told, desk: Desk, host: Host):
    desk.there = Report(
        networks=desk.there.networks,
        endpoints=(
            endpoint("web", WEB, mac=WEB_MAC, addresses=("fd00::2/64",), sandbox="/ns/web"),
            endpoint("db", DB, mac=DB_MAC, addresses=("fd00::3/64",), sandbox="/ns/db"),
        ),
    )
    assert told("web", "db")[0] == 0
    assert "icmp6," in host.asked[0][2][1]
    assert "ipv6_src=fd00::2,ipv6_dst=fd00::3,nw_ttl=64,icmpv6_type=128" in host.asked[0][2][1]


def test_why_somebody_is_not_reached_is_the_last_line_and_the_exit_code(told, host: Host):
    host.listens = False
    code, text = told("web", "db", "tcp/5432")
    assert code == 1
    assert text.splitlines()[-1] == (
        "web does not reach db (tcp/5432): nobody listens on tcp/5432 in db; start what should"
    )
    host.said = "Datapath actions: drop\n"
    code, text = told("web", "db")
    assert code == 1
    assert "bridge br-ovsnet drops it" in text.splitlines()[-1]


def test_options_in_force_count(told, desk: Desk):
    say(desk, of_network={"icc": False})
    assert "ovsnet set lab ovs.icc=true" in told("web", "db")[1].splitlines()[-1]
    say(desk, of_network={"icc": True}, of_endpoint={"protected": True})
    assert "ovs.protected=false" in told("web", "db")[1].splitlines()[-1]
    say(desk, of_endpoint={"protected": False}, sink="ids")
    assert "gets mirrored packets" in told("web", "db")[1].splitlines()[-1]


def test_what_cannot_be_looked_at_is_no_reason(told, host: Host):
    host.hidden, host.said = {"/ns/web", "/ns/db"}, ""
    code, text = told("web", "db", "tcp/80")
    assert code == 0
    assert "what web has inside is not known: run this as root on its host" in text
    assert "datapath actions" not in text


def test_a_container_that_does_not_run_is_not_looked_into(told, desk: Desk, host: Host):
    web, _ = desk.there.endpoints
    stopped = endpoint("db", DB, mac=DB_MAC, state="created", sandbox=None)
    desk.there = Report(networks=desk.there.networks, endpoints=(web, stopped))
    code, text = told("web", "db")
    assert code == 1
    assert "db is not plugged in: its endpoint is created" in text
    assert [sandbox for sandbox, *_ in host.looks] == ["/ns/web"]


def test_containers_of_two_networks_meet_at_the_gateways(told, desk: Desk, host: Host):
    web, _ = desk.there.endpoints
    away = endpoint(
        *("db", DB, OLD),
        network_name="dmz",
        vlan=101,
        mac=DB_MAC,
        sandbox="/ns/db",
        addresses=("10.2.0.3/24",),
    )
    desk.there = Report(networks=desk.there.networks, endpoints=(web, away))
    code, text = told("lab/web", "dmz/db")
    assert code == 1
    assert "ovs.mode=nat of dmz keeps lab and dmz apart" in text.splitlines()[-1]
    assert "docker network connect dmz" in text.splitlines()[-1]
    (asked,) = host.asked
    assert "dl_dst=0a:00:00:00:00:01,nw_src=10.1.0.2,nw_dst=10.2.0.3" in asked[2][1]


def test_a_program_gets_all_of_it(told, host: Host):
    host.listens = False
    code, text = told("web", "db", "udp/53", "--json")
    told_json = json.loads(text)
    assert (code, told_json["reaches"]) == (1, False)
    assert told_json["hops"][0]["verdict"] == "pass"
    assert told_json["hops"][-1] == {
        "name": "db",
        "kind": "container",
        "verdict": "stop",
        "sentence": "nobody listens on udp/53 in db; start what should",
        "by": "",
    }
    assert told_json["verdict"].startswith("web does not reach db (udp/53): ")


@pytest.mark.parametrize(
    "word", ["tcp", "tcp/", "tcp/0", "tcp/65536", "5432", "http/80", "tcp/x", "icmp/8", ""]
)
def test_what_is_no_protocol_and_port_is_a_wrong_command_line(told, word: str):
    code, text = told("web", "db", word)
    assert code == 2
    assert "write it like tcp/5432 or udp/53, or leave it out" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("web", "lab"), "lab is a network; name a container of it, NETWORK/CONTAINER"),
        (("web", "nobody"), "'nobody' is neither a network nor a container"),
        (("lab/nobody", "db"), "ovsnet knows no endpoint 'nobody'"),
    ],
)
def test_who_is_no_container_is_refused(told, words: tuple[str, str], sentence: str):
    code, text = told(*words)
    assert code == 1
    assert sentence in text


def test_of_a_container_on_two_networks_the_one_that_both_share_is_meant(told, desk: Desk):
    more = endpoint("web", "3eb1" * 16, OLD, network_name="dmz", addresses=("10.2.0.2/24",))
    desk.there = Report(networks=desk.there.networks, endpoints=(more, *desk.there.endpoints))
    assert told("web", "db")[0] == 0
    assert told("lab/web", "db")[0] == 0


def test_the_host_is_asked_about_by_a_word_or_its_address(told, host: Host, desk, monkeypatch):
    monkeypatch.setattr(sandbox_view, "listens", lambda protocol, port: True)
    for word, name in (("10.1.0.1", "10.1.0.1 of this host"), ("host", "this host")):
        code, text = told("web", word, "tcp/22")
        assert code == 0, text
        assert "this host has 10.1.0.1, and ovs.host=all of lab lets it reach that" in text
        assert "a program listens on tcp/22 on this host" in text
        assert text.splitlines()[-1].startswith(f"web reaches {name} (tcp/22)")
    monkeypatch.setattr(sandbox_view, "listens", lambda protocol, port: False)
    assert "nobody listens on tcp/22 on this host" in told("web", "host", "tcp/22")[1]
    say(desk, of_network={"host": HostAccess.NONE})
    assert "ovsnet set lab ovs.host=gateway" in told("web", "host", "tcp/22")[1].splitlines()[-1]


def publishing(desk: Desk) -> None:
    published = Publication(
        protocol=Transport.TCP,
        host=IPAddress("0.0.0.0"),
        host_port=8080,
        address=IPAddress("10.1.0.3"),
        port=80,
    )
    web, db = desk.there.endpoints
    db = replace(db, endpoint=replace(db.endpoint, published=(published,)))
    desk.there = Report(networks=desk.there.networks, endpoints=(web, db))


def test_a_port_that_is_published_leads_on(told, desk: Desk):
    publishing(desk)
    say(desk, of_network={"host": HostAccess.NONE})
    for words in (("web", "192.0.2.1"), ("outside", "db"), ("host", "db"), ("198.51.100.7", "db")):
        code, text = told(*words, "tcp/8080")
        assert code == 0, text
        assert "port 8080 is published for db: it goes to 10.1.0.3:80" in text
        assert "a program listens on tcp/80 in db" in text
    text = told("outside", "db", "tcp/80")[1]
    assert "tcp/80 of db is published as port 8080 of this host" in text
    code, text = told("outside", "db", "tcp/443")
    assert code == 1
    assert "ovs.mode=nat of lab lets nobody outside begin" in text.splitlines()[-1]


def test_the_way_outside_is_told_up_to_the_wire(told, host: Host):
    code, text = told("web", "outside")
    assert code == 0, text
    assert "the routes of this host send it to eth0 by router 192.0.2.254" in text
    assert "packets of more than 1400 bytes do not fit through eth0" in text
    assert "it leaves this host by router 192.0.2.254, as 192.0.2.1" in text
    assert "dl_dst=0a:00:00:00:00:01,nw_src=10.1.0.2" in host.asked[0][2][1]
    host.elsewhere = "10.9.0.1"
    code, text = told("web", "outside")
    assert "web leaves by docker_gwbridge, which is none of ovsnet's" in text


def test_rules_that_are_not_as_they_should_be_are_told(told, host: Host):
    host.rules = []
    code, text = told("web", "outside", "--json")
    told_json = json.loads(text)
    assert (code, told_json["reaches"]) == (0, None)
    assert "nftables table is not as its records say; `ovsnet reconcile`" in told_json["verdict"]


def test_rules_that_cannot_be_read_leave_it_open(told, host: Host, monkeypatch):
    async def refused() -> Sequence[BaseChain]:
        raise UnavailableError("Operation not permitted")

    monkeypatch.setattr(tracer.ruleset, "standing", refused)
    code, text = told("web", "outside")
    assert code == 0
    assert "web may reach outside" in text
    assert "Operation not permitted; run this as root" in text


def test_a_network_without_a_gateway_ends_where_its_mode_says(told, desk: Desk):
    subnets = tuple(replace(each, gateway=None) for each in desk.there.networks[0].network.subnets)
    say(desk, of_network={"mode": Mode.ISOLATED, "subnets": subnets})
    desk.there = Report(
        networks=tuple(replace(each, gateway_link=None) for each in desk.there.networks),
        endpoints=desk.there.endpoints,
    )
    for words in (("outside", "db"), ("host", "db"), ("web", "outside")):
        assert "ovs.mode=isolated of lab" in told(*words)[1].splitlines()[-1]
    say(desk, of_network={"gateway_container": "vpn"})
    for words in (("outside", "db"), ("web", "outside")):
        assert "lab has a router of its own, vpn" in told(*words)[1].splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("outside", "host", "-6"), "this host has no route to outside over IPv6"),
        (("outside", "198.51.100.7"), "one of both must be a container"),
        (("host", "dns"), "this host is no container; name one"),
    ],
)
def test_what_is_no_way_is_refused(told, words: tuple[str, ...], sentence: str):
    code, text = told(*words)
    assert code == 1
    assert sentence in text


RESOLV = "nameserver 127.0.0.11\n# ExtServers: [host(127.0.0.53) 198.51.100.53]\n"
FROM_HOST = "nameserver 127.0.0.11\n# ExtServers: [host(198.51.100.53)]\n"
OWN = "nameserver 127.0.0.11\n# ExtServers: [127.0.0.53]\n"


@pytest.mark.parametrize(
    ("text", "here", "said", "code"),
    [
        (RESOLV, True, "Docker asks 127.0.0.53 from this host, where a program listens", 0),
        (RESOLV, False, "it leaves this host by router 192.0.2.254", 0),
        (FROM_HOST, False, "Docker asks 198.51.100.53 from this host", 0),
        (FROM_HOST, False, "it leaves this host by router 192.0.2.254", 0),
        (OWN, True, "127.0.0.53 is web itself", 0),
        (RESOLV.partition("#")[0], True, "Docker knows no server for other names", 1),
        ("", True, "/etc/resolv.conf of web names no server", 1),
        ("nameserver 198.51.100.53\n", True, "web asks 198.51.100.53 itself", 0),
    ],
)
def test_whom_a_container_asks_for_names_and_how_far_that_gets(
    told, monkeypatch, tmp_path: Path, text: str, here: bool, said: str, code: int
):
    asking(monkeypatch, tmp_path, text)
    monkeypatch.setattr(sandbox_view, "listens", lambda protocol, port: here)
    found = told("web", "dns")
    assert found[0] == code, found[1]
    assert said in found[1]
    assert "(udp/53)" in found[1].splitlines()[-1]
    monkeypatch.setattr(sandbox_view, "has_resolver", lambda sandbox, at: False)
    gone = "Docker's resolver 127.0.0.11 is not there inside of web"
    assert (gone in told("web", "dns")[1]) is ("127.0.0.11" in text)


def asking(monkeypatch, folder: Path, text: str) -> None:
    """Have every container's ``/etc/resolv.conf`` say ``text``."""
    path = folder / "resolv.conf"
    path.write_text(text)

    async def seen(_: object, container: str) -> SeenContainer:
        return SeenContainer(
            name=container, status="running", exit_code=0, networks={}, resolv_conf=str(path)
        )

    monkeypatch.setattr(DockerEngine, "look_at", seen)
    monkeypatch.setattr(sandbox_view, "has_resolver", lambda sandbox, at: True)


def test_a_flow_of_ours_is_told_by_its_option(told, host: Host):
    guards = encoding.cookie("ovsnet", 7)
    for cookie, priority, by in (
        (guards, 0xF020, "ovs.guard of lab/web"),
        (guards, 0xF00F, "ovs.rate of lab/web"),
        (9, 0xF020, "a flow of br-ovsnet"),
    ):
        host.said = (
            f" 0. in_port=7, priority 61503, cookie {guards:#x}\n    resubmit(,0)\n"
            f" 0. in_port=7, priority {priority}, cookie {cookie:#x}\n    drop\n\n"
            "Datapath actions: drop\n"
        )
        code, text = told("web", "outside", "--json")
        assert (code, json.loads(text)["hops"][-1]["by"]) == (1, by)
    host.said = " 0. priority 5\n    drop\n\nDatapath actions: drop\n"
    assert (
        json.loads(told("web", "outside", "--json")[1])["hops"][-1]["by"] == "a flow of br-ovsnet"
    )


def with_rules(desk: Desk, **said: str) -> None:
    """Have rules hold for ``web``."""
    web, *others = desk.there.endpoints
    port = PortOptions(**{name: access_words.parse(text) for name, text in said.items()})
    endpoints = (replace(web, endpoint=replace(web.endpoint, port=port)), *others)
    desk.there = replace(desk.there, endpoints=endpoints)
    plan = desired.access(
        [each.network for each in desk.there.networks],
        [each.endpoint for each in endpoints],
        called={DB: "db"},
    )

    async def access(_: asks.ShowAccess) -> Access:
        return Access(plan=plan, learnt={})

    desk.also({asks.ShowAccess: access})


def test_the_access_rule_that_drops_is_named(told, desk: Desk):
    with_rules(desk, allow="container:db tcp/5432, host udp", deny="outside tcp/25")
    code, text = told("web", "db", "tcp/5432")
    assert code == 0, text
    assert 'rule "to container:db tcp/5432" of lab/web lets it pass' in text
    code, text = told("web", "db", "tcp/80")
    assert code == 1
    assert 'no rule of lab/web allows "to 10.1.0.3 tcp/80"' in text.splitlines()[-1]
    code, text = told("web", "outside", "tcp/25")
    assert code == 1
    assert 'rule "to outside tcp/25" of lab/web drops it (ovs.deny)' in text.splitlines()[-1]
    assert "`ovsnet rules show lab/web`" in text.splitlines()[-1]
    assert 'rule "to host udp" of lab/web lets it pass' in told("web", "host", "udp/53")[1]
    assert 'no rule of lab/web allows "to 10.1.0.1 icmp"' in told("web", "host")[1]


def test_a_container_with_names_in_its_rules_asks_at_its_gateway(told, desk: Desk):
    with_rules(desk, allow="example.com tcp/443")
    code, text = told("web", "192.0.2.53", "udp/53")
    assert code == 0
    assert "ovsnet's name server at the gateway answers lab/web" in text


def test_names_in_rules_learn_nothing_of_what_docker_asks_from_the_host(
    told, desk: Desk, monkeypatch, tmp_path: Path
):
    asking(monkeypatch, tmp_path, FROM_HOST)
    with_rules(desk, allow="example.com tcp/443")
    verdict = told("web", "dns")[1].splitlines()[-1]
    assert "web may reach a name server" in verdict
    assert verdict.endswith("its rules reach nothing; run it with --dns 10.1.0.1")
    asking(monkeypatch, tmp_path, FROM_HOST.replace("host(198.51.100.53)", "10.1.0.1"))
    assert "the gateway answers lab/web" in told("web", "dns")[1]


@pytest.mark.parametrize("mode", [Mode.FLAT, Mode.NAT])
def test_rules_about_what_passes_no_gateway_are_asked_at_the_bridge(told, desk: Desk, mode: Mode):
    say(desk, of_network={"mode": mode})
    with_rules(desk, deny="10.0.0.0/8")
    code, text = told("web", "10.1.0.77")
    assert code == 1
    assert 'rule "to 10.0.0.0/8" of lab/web drops it' in text.splitlines()[-1]
