"""Containers for which Docker asks names itself are told of, with what to type."""

from dataclasses import replace

from netaddr import IPAddress

from ovsdriver.domain.access.policy import AccessPlan
from ovsdriver.domain.records.model import EndpointId, NetworkId
from ovsdriver.domain.tracing.name_servers import Server, Servers
from ovsdriver.service.access.asked_past import AskedPast
from tests.builders import a_network, an_endpoint
from tests.fakes.engine import FakeEngine
from tests.unit.service.access.test_names import plan, policy


class Records:
    """What ``State`` has of one container."""

    def __init__(self) -> None:
        self.sandbox: str | None = "/var/run/docker/netns/1"

    def endpoint(self, endpoint: EndpointId) -> object:
        return replace(an_endpoint(), id=endpoint, sandbox=self.sandbox)

    def network(self, network: NetworkId) -> object:
        return replace(a_network(), id=network)


def servers(address: str, *, by_host: bool) -> Servers:
    server = Server(address=IPAddress(address), by_host=by_host)
    return Servers(asked=(IPAddress("127.0.0.11"),), forwarded=(server,))


class Bed:
    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.records = Records()
        self.name = "agent"
        self.asked_past = AskedPast(
            state=self.records,  # type: ignore[arg-type] - it is asked for two things
            engine=self.engine,
            listed=lambda _: self.name,
        )

    async def told(self, wanted: AccessPlan) -> list[str]:
        return [each.what for each in await self.asked_past.find(wanted)]


ASKING = plan(policy(1, "api.test"))


async def test_a_container_that_docker_asks_for_is_told_with_what_to_type() -> None:
    bed = Bed()
    bed.engine.asking["agent"] = servers("127.0.0.53", by_host=True)
    (text,) = await bed.told(ASKING)
    assert "container agent: Docker asks 127.0.0.53 for it from this host" in text
    assert text.endswith("--dns 10.1.0.1")


async def test_one_that_asks_itself_or_has_no_names_is_not() -> None:
    bed = Bed()
    bed.engine.asking["agent"] = servers("192.0.2.53", by_host=False)
    assert not await bed.told(ASKING)
    other = Bed()
    other.engine.asking["agent"] = servers("127.0.0.53", by_host=True)
    assert not await other.told(plan(policy(1)))


async def test_what_is_not_known_yet_is_asked_again_and_what_is_known_until_it_restarts() -> None:
    bed = Bed()
    assert not await bed.told(ASKING)
    bed.engine.asking["agent"] = servers("192.0.2.53", by_host=True)
    assert await bed.told(ASKING)
    bed.engine.asking["agent"] = servers("192.0.2.53", by_host=False)
    assert await bed.told(ASKING)
    bed.records.sandbox = "/var/run/docker/netns/2"
    assert not await bed.told(ASKING)
    bed.name = ""
    assert not await bed.told(ASKING)
