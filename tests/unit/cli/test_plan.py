"""``ovsnet plan``, over the real admin page."""

from collections.abc import Callable

import pytest
from aiohttp import web
from netaddr import IPAddress, IPNetwork

from ovsdriver.admin import api, asks
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.networks import report
from ovsdriver.admin.views import PlanReport
from ovsdriver.domain.plan.preview import HostLink, Preview, Row
from ovsdriver.domain.records.model import Mode, Network, NetworkId, Subnet
from ovsdriver.domain.records.options.port_options import VlanTag
from ovsdriver.domain.records.segments import Datapath, VlanSegment
from ovsdriver.errors import ConflictError
from ovsdriver.words import options
from tests.unit.cli.conftest import Desk, Process, Shell


class PlanDesk:
    def __init__(self) -> None:
        self.wishes: list[asks.PlanNetwork] = []

    def answers(self) -> Answers:
        return {asks.PlanNetwork: self.plan}

    async def plan(self, ask: asks.PlanNetwork) -> PlanReport:
        self.wishes.append(ask)
        wanted = options.network(ask.options, internal=ask.internal)
        if wanted.port.vlan == 5:
            raise ConflictError("VLAN 5 carries another network; choose another")
        network = Network(
            id=NetworkId("0" * 64),
            segment=VlanSegment(bridge="br-ovsnet", tag=VlanTag(7), datapath=Datapath.NETDEV),
            mode=Mode.NAT,
            subnets=(Subnet(cidr=IPNetwork("10.0.0.0/24"), gateway=IPAddress("10.0.0.1")),),
            port=wanted.port,
        )
        found = Preview(
            network=network,
            rows=(Row(table="Bridge", name="br-ovsnet", columns={"tag": None}, there=False),),
            links=(HostLink(name="ovg0", what="gateway", mtu=1500, addresses=("10.0.0.1/24",)),),
            rules=("{}",),
            warnings=("mind the step",),
        )
        return report.plan(found)


@pytest.fixture
def plans(serve: Callable[[web.Application], Process]):
    desk = PlanDesk()
    with serve(api.application(Desk().also(desk.answers()))):
        yield desk


def test_a_plan_is_shown_with_its_warnings(shell: Shell, plans: PlanDesk):
    done = shell("plan", "-o", "ovs.vlan=7", "--subnet", "10.0.0.0/24", "--gateway", "10.0.0.1")
    assert done.exit_code == 0
    for part in ("br-ovsnet (ours)", "10.0.0.0/24 (gateway 10.0.0.1)", "ovg0", "mind the step"):
        assert part in done.stdout
    assert done.stdout.rstrip().endswith("Nothing was made.")
    (wish,) = plans.wishes
    assert (wish.options, wish.subnets, wish.gateways) == (
        {"ovs.vlan": "7"},
        (IPNetwork("10.0.0.0/24"),),
        (IPAddress("10.0.0.1"),),
    )


def test_what_each_container_will_have_is_told(shell: Shell, plans: PlanDesk):
    plain, guarded = (shell("plan", "-o", f"ovs.guard={word}").stdout for word in ("false", "true"))
    assert "0 flows, 0 meters\n" in plain
    assert "0 flows, 0 meters, and the flows that pin its addresses (ovs.guard)" in guarded
    assert "ovs.guard=true" in guarded
    assert "Firewall: 1 object more in the table" in guarded


def test_a_program_gets_all_of_a_plan(shell: Shell, plans: PlanDesk):
    plan = shell.json("plan", "--ipv6", "--internal")
    segment = plan["network"]["segment"]
    assert (segment["bridge"], segment["tag"], plan["rows"][0]["there"]) == ("br-ovsnet", 7, False)
    assert (plans.wishes[0].ipv6, plans.wishes[0].internal) == (True, True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("-o", "ovs.vlan=5"), "choose another"),
        (("-o", "ovs.vlna=5"), "ovs.vlan"),
        (("--subnet", "nonsense"), "10.0.0.0/24"),
    ],
)
def test_what_would_be_refused_is_refused(
    shell: Shell, plans: PlanDesk, words: tuple[str, ...], why: str
):
    done = shell("plan", *words)
    assert done.exit_code == 1
    assert why in done.stderr
