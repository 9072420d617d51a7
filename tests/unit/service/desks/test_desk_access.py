"""What a person may ask of access rules, by the names that Docker tells."""

import pytest
from netaddr import IPAddress

from ovsdriver.admin.access.desk import AccessDesk
from ovsdriver.admin.access.views import RuleMet, RulesUse, RulesUser
from ovsdriver.admin.asks import ListRules, RemoveRules, SetRules, ShowAccess, ShowRules
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.records.options.access import Side
from ovsdriver.errors import ConflictError, UnknownObjectError
from ovsdriver.ports import Verdict
from tests.builders import FIRST, RED, SECOND
from tests.unit.service.conftest import Host

WEB, DB = EndpointId(FIRST), EndpointId(SECOND)


@pytest.fixture
async def desk(host: Host) -> AccessDesk:
    await host.create_network(said={"ovs.deny": "10.9.0.0/16"})
    address = await host.run_container(
        FIRST, said={"ovs.allow": "container:db tcp/5432, container:gone", "ovs.rules": "agent"}
    )
    other = await host.run_container(SECOND, sandbox="/netns/two")
    host.engine.add_network(NetworkId(RED), "lab")
    host.engine.add_endpoint(WEB, NetworkId(RED), "web", str(address))
    host.engine.add_endpoint(DB, NetworkId(RED), "db", str(other))
    await host.witness.read()
    await host.reconciler.reconcile()
    return AccessDesk(host.admin, engine=host.engine)


async def test_sets_are_listed_with_who_uses_them(desk: AccessDesk) -> None:
    assert await desk.sets(ListRules()) == (
        RulesUse(
            name="agent",
            configured=True,
            allow=("to example.com tcp/443",),
            users=(RulesUser(network=RED, network_name="lab", endpoint=WEB, container="web"),),
        ),
        RulesUse(name="base", configured=True, deny=("to 10.0.0.0/8",)),
    )


async def test_a_containers_rules_are_shown_with_who_says_them_and_what_they_met(
    host: Host, desk: AccessDesk
) -> None:
    host.firewall.access.packets = {
        (Side.TO, Verdict.DENIED, "to 10.9.0.0/16"): 3,
        (Side.TO, Verdict.ALLOWED, "to example.com tcp/443"): 20,
        (Side.TO, Verdict.CLOSED, ""): 7,
    }
    report = await desk.show(ShowRules(target="lab/web"))
    assert report.set is None
    (end,) = report.ends
    assert (end.network_name, end.container, end.shared) == ("lab", "web", 0)
    to = {"side": Side.TO}
    assert end.rules == (
        RuleMet(
            **to,
            verdict=Verdict.DENIED,
            rule="to 10.9.0.0/16",
            said_by="ovs.deny",
            packets=3,
            octets=300,
        ),
        RuleMet(
            **to, verdict=Verdict.ALLOWED, rule="to container:db tcp/5432", said_by="ovs.allow"
        ),
        RuleMet(
            **to,
            verdict=Verdict.ALLOWED,
            rule="to container:gone",
            said_by="ovs.allow",
            nobody=True,
        ),
        RuleMet(
            **to,
            verdict=Verdict.ALLOWED,
            rule="to example.com tcp/443",
            said_by="rules agent",
            packets=20,
            octets=2000,
        ),
        RuleMet(**to, verdict=Verdict.CLOSED, packets=7, octets=700),
    )


async def test_a_network_and_a_set_are_shown_with_all_of_their_containers(
    desk: AccessDesk,
) -> None:
    assert [e.container for e in (await desk.show(ShowRules(target="lab"))).ends] == ["db", "web"]
    report = await desk.show(ShowRules(target="agent"))
    assert report.set is not None
    assert [each.container for each in report.ends] == ["web"]


async def test_what_is_neither_is_said_to_be_neither(host: Host, desk: AccessDesk) -> None:
    with pytest.raises(UnknownObjectError, match="neither rules, a network nor a container"):
        await desk.show(ShowRules(target="nobody"))
    host.engine.up = False
    assert (await desk.show(ShowRules(target=FIRST[:12]))).ends


async def test_a_set_is_made_added_to_and_removed(host: Host, desk: AccessDesk) -> None:
    made = await desk.put(SetRules(name="mine", allow=("10.1.0.0/16, from any",)))
    assert made.set.allow == ("to 10.1.0.0/16", "from any")
    assert made.containers == ()
    more = await desk.put(SetRules(name="mine", deny=("any udp",), allow=("from any",), add=True))
    assert (more.set.allow, more.set.deny) == (("to 10.1.0.0/16", "from any"), ("to any udp",))
    less = await desk.put(SetRules(name="mine", deny=("any udp",)))
    assert (less.set.allow, less.set.deny) == ((), ("to any udp",))
    await host.create_network("b2" * 32, said={"ovs.rules": "mine"})
    with pytest.raises(ConflictError, match=r"type ovsnet set b2b2b2b2b2b2 ovs\.rules= first"):
        await desk.remove(RemoveRules(name="mine"))
    await host.networks.delete(NetworkId("b2" * 32))
    assert await desk.remove(RemoveRules(name="mine")) == "mine"
    assert "mine" not in host.admin.rule_sets.all()


async def test_who_has_a_set_that_changes_is_told(desk: AccessDesk, host: Host) -> None:
    await desk.put(SetRules(name="mine", deny=("any udp",)))
    await host.create_network("b2" * 32, said={"ovs.rules": "mine"})
    third = "c3" * 32
    await host.run_container(third, "b2" * 32, sandbox="/netns/three")
    done = await desk.put(SetRules(name="mine", deny=("any tcp",)))
    assert [each.endpoint for each in done.containers] == [third]


async def test_what_rules_come_to_is_told_with_addresses_of_names(
    host: Host, desk: AccessDesk
) -> None:
    policy = next(e.policy for e in host.admin.access.now().members if e.endpoint == WEB)
    await host.firewall.access.learn(policy, ["example.com"], {IPAddress("192.0.2.10"): 60})
    told = await desk.access(ShowAccess())
    assert told.plan == host.admin.access.now()
    assert told.learnt == {policy: {"example.com": (IPAddress("192.0.2.10"),)}}
