"""``ovsnet trace``: what is asked of whom, and what is told; the reasons are the domain's."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.adapters.kernel.sandbox import sandbox_view
from ovsdriver.admin.views import Report
from ovsdriver.cli.doctor import rpc
from ovsdriver.cli.look import trace
from ovsdriver.domain.records.model import HostAccess, Publication, Transport
from ovsdriver.domain.tracing.containers import Inside
from ovsdriver.domain.tracing.hops import Question
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

    def look(
        self, sandbox: str, mac: EUI, target: IPAddress | None, asked: Question
    ) -> Inside | None:
        self.looks.append((sandbox, str(mac), target, asked))
        if sandbox in self.hidden:
            return None
        own = IPNetwork("10.1.0.2/24" if mac == EUI(WEB_MAC) else "10.1.0.3/24")
        return Inside(
            up=True,
            addresses=(own, IPNetwork("fd00::2/64"), IPNetwork("fd00::3/64")),
            way=IPNetwork("10.1.0.0/24"),
            through_this=True,
            listens=None if asked.port is None else self.listens,
        )

    async def ask(self, address: str, method: str, params: list[str]) -> object:
        self.asked.append((address, method, params))
        if not self.said:
            raise rpc.RpcError("no answer")
        return self.said


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    made = Host()
    monkeypatch.setattr(sandbox_view, "look", made.look)
    monkeypatch.setattr(trace.rpc, "ask", made.ask)
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
    desk.there = Report(
        networks=(network("lab", LAB), network("dmz", OLD, vlan=101)),
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
    assert "ipv6_src=fd00::2,ipv6_dst=fd00::3,nw_ttl=64,icmp_type=128" in host.asked[0][2][1]


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


def test_containers_of_two_networks_are_no_question_to_the_bridge(told, desk: Desk, host: Host):
    web, _ = desk.there.endpoints
    away = endpoint("db", DB, OLD, network_name="dmz", vlan=101, mac=DB_MAC, sandbox="/ns/db")
    desk.there = Report(networks=desk.there.networks, endpoints=(web, away))
    code, text = told("lab/web", "dmz/db")
    assert (code, host.asked) == (1, [])
    assert "docker network connect dmz web" in text.splitlines()[-1]


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


def test_a_container_on_two_networks_is_to_be_named_with_one(told, desk: Desk):
    more = endpoint("web", "3eb1" * 16, OLD, network_name="dmz")
    desk.there = Report(networks=desk.there.networks, endpoints=(*desk.there.endpoints, more))
    code, text = told("web", "db")
    assert code == 1
    assert f"'web' fits several: lab/{WEB[:12]}, dmz/3eb13eb13eb1; type one of these" in text
    assert told("lab/web", "db")[0] == 0


def test_a_place_of_the_host_is_asked_about_by_its_address(
    told, host: Host, desk: Desk, monkeypatch
):
    monkeypatch.setattr(sandbox_view, "is_local", lambda address: str(address) != "198.51.100.7")
    monkeypatch.setattr(sandbox_view, "listens", lambda protocol, port: True)
    code, text = told("web", "10.1.0.1", "tcp/22")
    assert code == 0, text
    assert "a program listens on tcp/22 on this host" in text
    assert text.splitlines()[-1].startswith("web reaches 10.1.0.1 of this host (tcp/22)")
    assert host.looks[-1][2] == IPAddress("10.1.0.1")
    say(desk, of_network={"host": HostAccess.NONE})
    assert (
        "ovsnet set lab ovs.host=gateway" in told("web", "10.1.0.1", "tcp/22")[1].splitlines()[-1]
    )
    code, text = told("web", "198.51.100.7")
    assert code == 1
    assert "198.51.100.7 is no address of this host" in text


def test_a_port_that_is_published_leads_on(told, desk: Desk, monkeypatch):
    monkeypatch.setattr(sandbox_view, "is_local", lambda address: True)
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
    say(desk, of_network={"host": HostAccess.NONE})
    code, text = told("web", "192.0.2.1", "tcp/8080")
    assert code == 0, text
    assert "tcp/8080 is published there for db" in text
