"""What containers are told of names in their rules, and what their rules know by then."""

from collections.abc import Mapping

import pytest
from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.domain.access import naming
from ovsdriver.domain.access.naming import NameRecord
from ovsdriver.domain.access.policy import AccessPlan, Judgement, Member, Policy, Reach
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.errors import ConflictError, UnavailableError
from ovsdriver.service.access.names import AccessNames
from tests.builders import OWNER
from tests.fakes.access import FakeAccessFirewall
from tests.fakes.gateway_names import FakeGatewayNameServers
from tests.fakes.links import FakeLinks

GATEWAY, CLIENT = "ovg000000000001", "10.66.1.2"
API, OTHER, HOST = "198.51.100.7", "198.51.100.8", "192.0.2.1"


def policy(number: int, *names: str, closed: bool = True) -> Policy:
    reaches = (Reach(rule="r", names=names),) if names else ()
    judged = Judgement(allow=reaches, closed=True) if closed else Judgement(deny=reaches)
    return Policy(key=f"{number:012x}", to=judged)


def plan(*policies: Policy, gateway: str = GATEWAY) -> AccessPlan:
    """Return a plan with a member for each policy: ``.2``, ``.3`` and so on."""
    return AccessPlan(
        policies=policies,
        members=tuple(
            Member(
                endpoint=EndpointId(f"{number:064x}"),
                network=NetworkId("1" * 64),
                policy=each.key,
                gateway=gateway,
                mac=EUI(0x02_42_00_00_00_00 + number),
                addresses=(IPAddress(f"10.66.1.{number}"), IPAddress(f"fd66::{number}")),
            )
            for number, each in enumerate(policies, start=2)
        ),
    )


def said(name: str, *addresses: str) -> list[NameRecord]:
    return [NameRecord(name=name, seconds=300, address=IPAddress(each)) for each in addresses]


class Bed:
    def __init__(self) -> None:
        self.firewall = FakeAccessFirewall()
        self.servers = FakeGatewayNameServers(
            {"api.test": said("api.test", API), "host.test": said("host.test", HOST, OTHER)}
        )
        self.servers.devices[GATEWAY] = 7
        self.made = 0
        self.now = 0.0
        links = FakeLinks(owner=OWNER)
        links.add_link("eth0", addresses=(IPNetwork(f"{HOST}/24"),))
        self.names = AccessNames(
            firewall=self.firewall, servers=self._servers, links=links, clock=lambda: self.now
        )

    def _servers(self) -> FakeGatewayNameServers:
        self.made += 1
        return self.servers

    async def apply(self, wanted: AccessPlan, *, lost: bool = False) -> bool:
        """Do as the aspect does."""
        self.names.expect(wanted)
        await self.firewall.apply(wanted)
        return await self.names.follow(lost=lost)

    async def ask(self, name: str, client: str = CLIENT) -> list[str] | None:
        return await self.servers.ask(GATEWAY, client, name)

    def learnt(self, one: Policy) -> Mapping[str, Mapping[str, int]]:
        """Return what the kernel knows for a policy: seconds by name and address."""
        return {
            name: {str(address): seconds for address, seconds in found.items()}
            for name, found in self.firewall.known.get(one.key, {}).items()
        }


@pytest.fixture
def bed() -> Bed:
    return Bed()


async def test_rules_know_an_address_before_its_container_does(bed: Bed) -> None:
    one = policy(1, "api.test", "*.test")
    assert await bed.apply(plan(one))
    assert not await bed.apply(plan(one))
    assert await bed.ask("api.test") == ["NOERROR", API]
    assert bed.learnt(one) == {"api.test": {API: 300}, "*.test": {API: 300}}
    assert await bed.ask("api.test", "fd66::2") == ["NOERROR", API]


async def test_without_names_nothing_is_made_and_nobody_is_answered(bed: Bed) -> None:
    assert not await bed.apply(plan(policy(1)))
    assert not await bed.apply(AccessPlan())
    assert not bed.made
    assert not bed.names.unserved()
    assert not bed.names.serves(GATEWAY, IPAddress(CLIENT))
    with pytest.raises(UnavailableError):
        await bed.names.learn(GATEWAY, IPAddress(CLIENT), "api.test", said("api.test", API))


async def test_each_container_is_answered_by_its_own_policy(bed: Bed) -> None:
    one, two = policy(1, "api.test"), policy(2, "other.test")
    await bed.apply(plan(one, two))
    assert await bed.ask("api.test", "10.66.1.3") == ["REFUSED"]
    assert await bed.ask("api.test", "10.66.1.4") is None
    assert not bed.servers.asked
    assert await bed.ask("api.test") == ["NOERROR", API]
    assert not bed.learnt(two)


async def test_an_address_of_the_host_is_neither_learnt_nor_told(bed: Bed) -> None:
    one = policy(1, "host.test")
    await bed.apply(plan(one))
    assert await bed.ask("host.test") == ["NOERROR", OTHER]
    assert bed.learnt(one) == {"host.test": {OTHER: 300}}


async def test_who_reaches_the_rest_is_told_all_and_what_is_denied_is_learnt(bed: Bed) -> None:
    one = policy(1, "api.test", closed=False)
    await bed.apply(plan(one))
    assert await bed.ask("host.test") == ["NOERROR", HOST, OTHER]
    assert await bed.ask("api.test") == ["NOERROR", API]
    assert bed.learnt(one) == {"api.test": {API: 300}}


async def test_a_policy_that_takes_anothers_place_knows_what_that_one_had_learnt(
    bed: Bed,
) -> None:
    before, after = policy(1, "api.test"), policy(2, "api.test", "host.test")
    await bed.apply(plan(before))
    await bed.ask("api.test")
    bed.now = 100
    await bed.apply(plan(after))
    assert bed.learnt(after) == {"api.test": {API: 200}}
    assert await bed.ask("host.test") == ["NOERROR", OTHER]


async def test_what_was_lost_is_told_again_and_what_has_ended_is_not(bed: Bed) -> None:
    one = policy(1, "api.test", "host.test")
    await bed.apply(plan(one))
    await bed.ask("api.test")
    bed.now = 200
    await bed.ask("host.test")
    bed.now = 301
    bed.firewall.lose()
    await bed.apply(plan(one), lost=True)
    assert bed.learnt(one) == {"host.test": {OTHER: 199}}


async def test_what_a_container_uses_is_let_in_for_longer_and_nothing_else(bed: Bed) -> None:
    one = policy(1, "api.test", "host.test")
    await bed.apply(plan(one))
    await bed.ask("api.test")
    await bed.ask("host.test")
    bed.firewall.talking = {
        (IPAddress(CLIENT), IPAddress(API)),
        (IPAddress("10.66.1.9"), IPAddress(OTHER)),
        (IPAddress(CLIENT), IPAddress("203.0.113.9")),
    }
    await bed.names.prolong()
    assert bed.learnt(one) == {"api.test": {API: 300}, "host.test": {OTHER: 300}}
    bed.now = 290
    await bed.names.prolong()
    bed.now = 320
    bed.firewall.lose()
    await bed.apply(plan(one), lost=True)
    assert bed.learnt(one) == {"api.test": {API: 30}}


async def test_what_has_ended_is_not_let_in_again_by_a_connection(bed: Bed) -> None:
    one = policy(1, "api.test")
    await bed.apply(plan(one))
    await bed.ask("api.test")
    bed.firewall.talking = {(IPAddress(CLIENT), IPAddress(API))}
    bed.now = 301
    await bed.names.prolong()
    bed.firewall.lose()
    await bed.apply(plan(one), lost=True)
    assert not bed.learnt(one)


async def test_the_next_process_knows_what_the_one_before_had_learnt(bed: Bed) -> None:
    one, two = policy(1, "api.test"), policy(2, "api.test", "more.test")
    await bed.apply(plan(one))
    await bed.ask("api.test")
    again = Bed()
    again.firewall = bed.firewall
    again.names = AccessNames(
        firewall=bed.firewall,
        servers=lambda: again.servers,
        links=FakeLinks(owner=OWNER),
        clock=lambda: 0.0,
    )
    await again.apply(plan(one))
    await again.apply(plan(two))
    assert again.learnt(two) == {"api.test": {API: 300}}


async def test_what_changes_while_a_question_is_asked_is_judged_anew(bed: Bed) -> None:
    one, two = policy(1, "api.test"), policy(2, "host.test")
    await bed.apply(plan(one))
    learn = bed.firewall.learn

    async def changed(key: str, names: object, addresses: Mapping[IPAddress, int]) -> None:
        bed.names.expect(plan(two))
        await learn(key, ["api.test"], addresses)

    bed.firewall.learn = changed  # type: ignore[assignment,method-assign]
    assert await bed.ask("api.test") == ["NOERROR"]


async def test_what_is_over_the_bound_is_not_told(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "PER_NAME", 1)
    await bed.apply(plan(policy(1, "*.test")))
    assert await bed.ask("api.test") == ["NOERROR", API]
    assert await bed.ask("host.test") == ["NOERROR"]
    assert await bed.ask("api.test") == ["NOERROR", API]


async def test_gateways_that_are_not_answered_at_are_told_and_found(bed: Bed) -> None:
    wanted = plan(policy(1, "api.test"))
    await bed.apply(wanted)
    assert not bed.names.unserved()
    bed.servers.devices[GATEWAY] = 8
    assert bed.names.unserved() == [GATEWAY]
    bed.servers.taken = True
    with pytest.raises(ConflictError):
        await bed.names.follow()
    bed.servers.taken = False
    assert await bed.names.follow()
    assert await bed.ask("api.test") == ["NOERROR", API]


async def test_with_the_last_name_the_servers_end(bed: Bed) -> None:
    await bed.apply(plan(policy(1, "api.test")))
    assert await bed.apply(plan(policy(2)))
    assert not bed.servers.running()
    await bed.apply(plan(policy(1, "api.test")))
    del bed.servers.devices[GATEWAY]
    await bed.names.clear()
    bed.servers.devices[GATEWAY] = 7
    assert not bed.servers.running()
