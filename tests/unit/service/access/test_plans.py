"""What access rules come to, as Docker calls things."""

from ovsdriver.domain.records.model import EndpointId, NetworkId
from tests.builders import BLUE, FIRST, RED, SECOND
from tests.unit.service.conftest import Host


def reached(host: Host) -> list[str]:
    (policy,) = host.admin.access.now().policies
    return [str(each.prefix) for each in policy.to.allow]


async def test_a_name_is_known_once_docker_was_read_and_by_the_next_process(host: Host) -> None:
    await host.create_network()
    await host.run_container(said={"ovs.allow": "container:db"})
    address = await host.run_container(SECOND, sandbox="/netns/two")
    assert reached(host) == []
    told = []
    host.admin.called.on_names(lambda: told.append(reached(host)))
    host.engine.add_network(NetworkId(RED), "lab")
    host.engine.add_endpoint(EndpointId(SECOND), NetworkId(RED), "db", str(address))
    await host.witness.read()
    assert reached(host) == [f"{address}/32"]
    assert told == [[f"{address}/32"]]
    await host.witness.read()
    assert len(told) == 1
    again = await host.restart()
    assert reached(again) == [f"{address}/32"]
    await again.stop()


async def test_what_is_gone_has_no_name(host: Host) -> None:
    await host.create_network()
    await host.create_network(BLUE)
    host.engine.add_network(NetworkId(BLUE), "blue")
    host.engine.add_network(NetworkId(RED), "lab")
    await host.witness.read()
    assert host.admin.called.names() == {RED: "lab", BLUE: "blue"}
    await host.networks.delete(NetworkId(BLUE))
    await host.witness.read()
    assert host.admin.called.names() == {RED: "lab"}


async def test_where_nobody_has_rules_there_is_no_plan(host: Host) -> None:
    await host.create_network()
    await host.run_container(FIRST)
    assert host.admin.access.now().members == ()
