"""Sets of access rules that have a name."""

import logging

import pytest

from ovsdriver.domain.records.model import EndpointId, Mode, NetworkId
from ovsdriver.domain.records.options.access import RuleSet
from ovsdriver.errors import (
    ConflictError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.service.access.named_sets import NamedSets, User
from ovsdriver.words import access_words
from ovsdriver.words.changes import OtherOptions
from tests.builders import FIRST, RED
from tests.fakes.journal import FakeJournal
from tests.unit.service.conftest import Host

WEB = EndpointId(FIRST)


def a_set(name: str = "mine", *, allow: str = "", deny: str = "") -> RuleSet:
    rules = {k: access_words.parse(v) for k, v in (("allow", allow), ("deny", deny)) if v}
    return RuleSet(name=name, **rules)


def shown(user: User) -> str:
    return "lab" if user[1] is None else "lab/web"


async def test_a_set_that_was_kept_is_there_in_the_next_process(host: Host) -> None:
    wanted = a_set(allow="example.com tcp/443, from any", deny="10.0.0.0/8")
    assert await host.admin.rule_sets.put(wanted) == ""
    again = await host.restart()
    assert again.admin.rule_sets.all()["mine"] == wanted
    assert again.admin.rule_sets.all().keys() == {"agent", "base", "mine"}
    await again.admin.rule_sets.remove("mine", shown=shown)
    last = await again.restart()
    assert "mine" not in last.admin.rule_sets.all()
    await last.stop()


async def test_what_the_configuration_has_no_command_changes(host: Host) -> None:
    with pytest.raises(ConflictError, match=r"\[rules.agent\]; change them there"):
        await host.admin.rule_sets.put(a_set("agent", deny="any"))
    with pytest.raises(ConflictError, match=r"remove \[rules.agent\] there"):
        await host.admin.rule_sets.remove("agent", shown=shown)


async def test_the_configuration_holds_where_both_have_a_set_and_that_is_said(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    kept = a_set("both", deny="any")
    await host.admin.rule_sets.put(kept)
    with caplog.at_level(logging.WARNING):
        sets = NamedSets(
            [a_set("both", allow="any")],
            notes=host.state,
            state=host.state,
            journal=FakeJournal(),
        )
    assert "rules.twice" in caplog.text
    assert sets.all()["both"].allow
    await sets.remove("both", shown=shown)
    assert sets.all()["both"].allow


async def test_what_cannot_be_read_is_no_set(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    await host.state.put_note("rules:mine", "{")
    with caplog.at_level(logging.WARNING):
        again = await host.restart()
    assert "mine" not in again.admin.rule_sets.all()
    assert "rules.unreadable" in caplog.text
    await again.stop()


async def test_a_set_that_is_not_there_is_refused_with_how_to_make_it(host: Host) -> None:
    with pytest.raises(InvalidOptionError, match="ovsnet rules set mine --allow RULE"):
        await host.create_network(said={"ovs.rules": "mine"})
    await host.create_network()
    with pytest.raises(InvalidOptionError, match="there are no such rules"):
        await host.run_container(said={"ovs.rules": "agent+mine"})
    await host.run_container()
    with pytest.raises(InvalidOptionError, match="there are no such rules"):
        await host.changes.endpoint(WEB, OtherOptions(typed={"ovs.rules": "mine"}))
    with pytest.raises(InvalidOptionError, match="there are no such rules"):
        await host.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.rules": "mine"}))


async def test_a_set_about_names_is_refused_where_there_is_no_gateway(host: Host) -> None:
    with pytest.raises(UnsupportedError, match=r'"to example.com tcp/443" is judged at a gateway'):
        await host.create_network(said={"ovs.mode": "flat", "ovs.rules": "agent"})
    await host.create_network(mode=Mode.FLAT)
    await host.admin.rule_sets.put(a_set(deny="10.0.0.0/8"))
    await host.run_container(said={"ovs.rules": "mine"})
    with pytest.raises(UnsupportedError, match=r"has ovs.rules=mine"):
        await host.admin.rule_sets.put(a_set(deny="host"))
    assert host.admin.rule_sets.all()["mine"] == a_set(deny="10.0.0.0/8")


async def test_a_set_in_use_is_not_removed(host: Host) -> None:
    sets = host.admin.rule_sets
    await sets.put(a_set(deny="any"))
    await host.create_network(said={"ovs.rules": "mine"})
    await host.run_container(said={"ovs.rules": "mine+base"})
    with pytest.raises(ConflictError, match=r"lab and 1 more has ovs.rules=mine"):
        await sets.remove("mine", shown=shown)
    await host.changes.network(NetworkId(RED), OtherOptions(typed={"ovs.rules": ""}))
    with pytest.raises(ConflictError, match=r"type ovsnet set lab/web ovs.rules= first"):
        await sets.remove("mine", shown=shown)
    await host.changes.endpoint(WEB, OtherOptions(typed={"ovs.rules": "base"}))
    await sets.remove("mine", shown=shown)
    with pytest.raises(UnknownObjectError, match="there are none"):
        await sets.remove("mine", shown=shown)


async def test_whoever_uses_a_set_has_it_at_once_as_it_is_now(host: Host) -> None:
    sets, plans = host.admin.rule_sets, host.admin.access
    seen = []

    async def follow() -> None:
        seen.append([each.rule for policy in plans.now().policies for each in policy.to.deny])

    sets.on_change(follow)
    await sets.put(a_set(deny="10.2.0.0/16"))
    await host.create_network()
    await host.run_container(said={"ovs.rules": "mine"})
    await sets.put(a_set(deny="10.3.0.0/16"))
    assert seen == [[], ["to 10.3.0.0/16"]]
    await sets.put(a_set(deny="10.3.0.0/16"))
    assert len(seen) == 2


async def test_a_change_that_nobody_can_follow_is_taken_back(host: Host) -> None:
    sets = host.admin.rule_sets
    faults: list[Exception] = [UnsupportedError("no"), UnsupportedError("no")]

    async def follow() -> None:
        if faults:
            raise faults.pop()

    await sets.put(a_set(deny="any"))
    sets.on_change(follow)
    faults.pop()
    with pytest.raises(UnsupportedError, match="no"):
        await sets.put(a_set(allow="any"))
    assert sets.all()["mine"] == a_set(deny="any")
    faults.append(UnavailableError("the kernel is away"))
    assert await sets.put(a_set(allow="any")) == "the kernel is away"
    assert sets.all()["mine"] == a_set(allow="any")


async def test_a_set_that_is_gone_lets_nothing_by_and_every_look_says_so(host: Host) -> None:
    await host.admin.rule_sets.put(a_set(deny="any"))
    await host.create_network()
    await host.run_container(said={"ovs.rules": "mine"})
    await host.state.forget_note("rules:mine")
    again = await host.restart()
    (policy,) = again.admin.access.now().policies
    assert policy.to.closed
    assert policy.from_.closed
    repairs = await again.reconciler.reconcile()
    assert "rules mine: there are none" in str(repairs)
    await again.stop()


async def test_changes_of_a_set_are_told(host: Host) -> None:
    before = host.admin.events.newest
    await host.admin.rule_sets.put(a_set(deny="any udp", allow="10.1.0.0/16, from any"))
    await host.admin.rule_sets.put(a_set(deny="any udp", allow="10.1.0.0/16, from any"))
    await host.admin.rule_sets.remove("mine", shown=shown)
    await host.state.put_note("any", "commit")
    told = await host.admin.events.after(before, limit=10)
    assert [(each.type, each.action, dict(each.attributes)) for each in told] == [
        (
            "rules",
            "changed",
            {"rules": "mine", "allow": "to 10.1.0.0/16, from any", "deny": "to any udp"},
        ),
        ("rules", "removed", {"rules": "mine"}),
    ]
