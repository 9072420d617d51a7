"""What `ovsnet set` changed of a container is there again after its next start."""

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from ovsdriver import codec
from ovsdriver.admin.asks import SetOptions
from ovsdriver.admin.networks.desk import NetworkDesk
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import NO_OPTIONS, Endpoint, EndpointId, NetworkId
from ovsdriver.domain.records.options import changed_options
from ovsdriver.errors import UnavailableError
from ovsdriver.service.change.changed_options import KeptOptions
from tests.builders import BLUE, FIRST, RED, SECOND, an_endpoint
from tests.unit.service.conftest import Host

WEB = "web" * 8
"""Docker's id of the container."""


def noted(host: Host) -> Mapping[str, str]:
    return {
        key: text
        for key, text in host.state.notes().items()
        if key.startswith(changed_options.PREFIX)
    }


async def start(
    host: Host,
    endpoint: str = FIRST,
    *,
    container: str = "web",
    said: Mapping[str, str] = NO_OPTIONS,
) -> None:
    """Do what dockerd does for ``docker start``."""
    await host.run_container(endpoint, sandbox=f"/netns/{endpoint[:4]}", said=said)
    host.engine.add_endpoint(EndpointId(endpoint), RED, container)


async def stop(host: Host, endpoint: str = FIRST) -> None:
    """Do what dockerd does for ``docker stop``."""
    await host.endpoints.leave(RED, EndpointId(endpoint))
    await host.endpoints.delete(RED, EndpointId(endpoint))
    host.engine.remove_endpoint(EndpointId(endpoint))


async def change(host: Host, endpoint: str = FIRST, **typed: str) -> None:
    """Type ``ovsnet set``."""
    desk = NetworkDesk(
        host.admin, owner="ovsnet", switch=host.switch, engine=host.engine, clock=lambda: 0.0
    )
    options = {f"ovs.{name}": text for name, text in typed.items()}
    await desk.change(SetOptions(target=endpoint, options=options))


def record(host: Host, endpoint: str = SECOND) -> Endpoint:
    found = host.state.endpoint(EndpointId(endpoint))
    assert found is not None
    return found


@pytest.fixture
async def lab(host: Host) -> Host:
    await host.create_network(said={"ovs.vlan": "10"})
    await start(host, said={"ovs.trunks": "5"})
    return host


async def test_the_next_start_has_what_was_changed(lab: Host) -> None:
    await change(lab, vlan="7", trunks="", protected="true")
    assert changed_options.key(RED, WEB) in noted(lab), "before the command has its answer"
    await stop(lab)
    again = await lab.restart()
    try:
        await start(again, SECOND, said={"ovs.trunks": "5"})
        assert await again.kept.look()
        port = again.switch.port(names.host_link(EndpointId(SECOND)))
        assert port is not None
        assert (port.tag, port.trunks, port.protected) == (7, (), True)
        assert record(again).options == {"ovs.vlan": "7", "ovs.protected": "true"}
        assert await again.kept.look()
        assert len(noted(again)) == 1
    finally:
        await again.stop()


async def test_another_container_and_one_that_was_asked_for_otherwise_have_their_own(
    lab: Host,
) -> None:
    await change(lab, vlan="7")
    await stop(lab)
    third = "3c" * 32
    await start(lab, third, container="web2", said={"ovs.trunks": "5"})
    assert await lab.kept.look()
    assert record(lab, third).port.vlan is None
    await start(lab, SECOND, said={"ovs.vlan": "9"})
    assert await lab.kept.look()
    assert record(lab).port.vlan == 9
    assert noted(lab) == {}, "what was typed later counts"


async def test_what_is_taken_back_is_not_kept(lab: Host) -> None:
    await change(lab, vlan="7")
    await change(lab, vlan="8", protected="true")
    (text,) = noted(lab).values()
    stored = changed_options.decode(text)
    assert stored is not None
    assert stored.changes == {"ovs.vlan": "8", "ovs.protected": "true"}
    await change(lab, vlan="", protected="")
    assert noted(lab) == {}
    await change(lab, trunks="5")
    assert noted(lab) == {}, "it is what Docker asked for"


async def test_what_docker_did_not_tell_at_once_is_noted_when_it_does(lab: Host) -> None:
    lab.engine.up = False
    await change(lab, vlan="7")
    assert noted(lab) == {}
    with pytest.raises(UnavailableError):
        await lab.kept.look()
    lab.engine.up = True
    assert await lab.kept.look()
    assert changed_options.key(RED, WEB) in noted(lab)


async def test_docker_is_asked_again_until_it_knows_the_container(lab: Host) -> None:
    await change(lab, vlan="7")
    await stop(lab)
    await lab.run_container(SECOND, sandbox="/netns/f2f2", said={"ovs.trunks": "5"})
    assert not await lab.kept.look()
    running = asyncio.create_task(lab.kept.run())
    try:
        async with asyncio.timeout(30):
            await asyncio.sleep(0)
            lab.engine.add_endpoint(EndpointId(SECOND), RED, "web")
            while record(lab).port.vlan != 7:
                lab.kept.poke()
                await asyncio.sleep(0.001)
    finally:
        running.cancel()


class Telling(KeptOptions):
    """Tells of every look, when it has come to its end, what it was at."""

    looks: "asyncio.Queue[Iterable[str] | None]"

    async def look(self, sandboxes: Iterable[str] | None = None) -> bool:
        done = await super().look(sandboxes)
        self.looks.put_nowait(sandboxes)
        return done


async def test_a_poke_for_a_sandbox_serves_what_is_in_there(lab: Host) -> None:
    await change(lab, vlan="7")
    await stop(lab)
    # the host's own is poked by the start itself
    kept = Telling(
        state=lab.state, notes=lab.state, engine=lab.engine, changes=lab.changes, settle_s=0.0
    )
    kept.looks = asyncio.Queue()
    running = asyncio.create_task(kept.run())
    nobodys, own = "/netns/of-nobody", f"/netns/{SECOND[:4]}"
    try:
        async with asyncio.timeout(30):
            assert await kept.looks.get() is None, "at everything"
            await start(lab, SECOND, said={"ovs.trunks": "5"})
            kept.poke(nobodys)
            assert await kept.looks.get() == {nobodys}
            assert record(lab).port.vlan is None
            kept.poke(own)
            assert await kept.looks.get() == {own}
            assert record(lab).port.vlan == 7
    finally:
        running.cancel()


async def test_docker_is_not_asked_while_nothing_was_ever_changed(lab: Host) -> None:
    lab.engine.up = False
    assert await lab.kept.look()
    await start(lab, SECOND)
    assert await lab.kept.look()


async def test_notes_of_what_is_gone_are_forgotten(lab: Host) -> None:
    await change(lab, vlan="7")
    await stop(lab)
    await lab.create_network(BLUE)
    gone = changed_options.key(NetworkId("c3" * 32), WEB)
    await lab.state.put_note(gone, "{}")
    again = await lab.restart()
    try:
        assert await again.kept.look()
        assert noted(again).keys() == {changed_options.key(RED, WEB)}
    finally:
        await again.stop()
    again = await lab.restart()
    try:
        again.engine.remove_container("web")
        assert await again.kept.look()
        assert noted(again) == {}
    finally:
        await again.stop()


async def test_what_cannot_be_changed_again_is_said_once_and_left(lab: Host) -> None:
    await change(lab, ofport="77")
    await stop(lab)
    await start(lab, "3c" * 32, container="other", said={"ovs.ofport": "77"})
    await start(lab, SECOND, said={"ovs.trunks": "5"})
    assert await lab.kept.look()
    assert record(lab).ofport is None
    calls = len(lab.switch.calls)
    assert await lab.kept.look()
    assert len(lab.switch.calls) == calls


def test_a_note_without_a_meaning_is_no_note() -> None:
    for text in ("", "[]", "{}", '{"asked": 5, "changes": {}}'):
        assert changed_options.decode(text) is None
    endpoint = an_endpoint(asked={"ovs.vlan": "5"}, options={"ovs.mtu": "1400"})
    made = changed_options.of(endpoint, endpoint.options)
    assert made is not None
    assert changed_options.decode(codec.encode(made)) == made
    assert made.changes == {"ovs.vlan": "", "ovs.mtu": "1400"}
