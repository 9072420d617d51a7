"""What Engine 29 does otherwise than 26, as it was recorded, and that nothing stays of it."""

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import snapshot
from tests.e2e.bed import Bed
from tests.e2e.wire import NAME, ask
from tests.e2e.world import until
from tests.faults.haste import hasty_bed, hurried
from tests.faults.played import E29, PlayedDocker, api
from tests.faults.replayed import Conversation
from tests.faults.sandboxes import Sandboxes
from tests.unit.wire.conversation import WIRE

pytestmark = [pytest.mark.docker, pytest.mark.long]

NAMED = ("run-lifecycle", "daemon-restart-graceful", "host-reboot", "daemon-live-restore-graceful")
"""Containers are started again in them."""

RECORDINGS = (
    *(*NAMED, "connect-disconnect", "container-crash", "concurrent-10-runs", "daemon-kill9"),
    *("daemon-kill9-one-name", "daemon-killed-during-calls", "fail-create-endpoint", "fail-join"),
    *("fail-join-connect", "fail-program-external", "fail-request-address-v6"),
    *("plugin-killed-during-calls", "publish-ports", "run-two-networks", "run-static-ip-mac"),
    "net-create-ipv6-dualstack",
)

FORGOTTEN = {"daemon-killed-during-calls": 9}
"""Recordings in which dockerd was killed in CreateNetwork: the number of that call. Its user, who
types the same again, has to wait until we have found out that Docker has no such network."""


@pytest.fixture(scope="module")
def played_bed() -> Iterator[Bed]:
    with hasty_bed(docker=False) as bed:
        yield bed


@pytest.fixture
def bed(played_bed: Bed) -> Iterator[Bed]:
    before = snapshot.take(played_bed)
    yield played_bed
    last: list[str] = []

    def as_before() -> bool:
        last[:] = [snapshot.difference(before, snapshot.take(played_bed))]
        return not last[0]

    with empty_docker(played_bed):
        until(as_before, lambda: f"all is as before\n{last[0]}", timeout_s=60)


@contextmanager
def empty_docker(bed: Bed) -> Iterator[None]:
    """Have an API that lists nothing, and minutes pass as seconds."""
    nobody = PlayedDocker(lambda *_: {}, Sandboxes(bed), E29, lambda: None)
    with api(nobody, bed.outer_path("/run/docker.sock")), hurried(bed):
        yield


def recorded(name: str) -> Path:
    return WIRE / f"v29-{name}.jsonl"


def state(bed: Bed) -> Any:
    """Return everything that there is."""
    return ask(bed, "show-state")


def published(bed: Bed) -> dict[str, set[int]]:
    """Return the TCP ports of the host that we publish, by endpoint, as the records say."""
    return {
        each["endpoint"]["id"]: {
            number
            for port in each["endpoint"]["published"]
            if port["protocol"] == "tcp"
            for number in range(port["host_port"], port["host_port"] + port["count"])
        }
        for each in state(bed)["endpoints"]
        if each["endpoint"]["published"]
    }


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_conversation_of_engine_29_is_served_to_its_end_and_leaves_nothing(
    bed: Bed, name: str
) -> None:
    conversation = Conversation(bed, recorded(name))
    refused = {}
    for call, body, said in conversation.held():
        if call.number == FORGOTTEN.get(name):
            with empty_docker(bed):
                until(lambda: not state(bed)["networks"], "the network is collected", timeout_s=60)
        recorded_as_refused = isinstance(call.answer, dict) and call.answer.get("Error")
        if said.get("Err") and body and not recorded_as_refused:
            refused[f"{call.number} {call.call}"] = said["Err"]
        if call.call in ("NetworkDriver.Leave", "NetworkDriver.ProgramExternalConnectivity"):
            # also where no Revoke came before, as after a restart with live-restore
            found = published(bed)
            for endpoint, wanted in conversation.published.items():
                assert wanted <= found.pop(endpoint, set()), f"{call.number} {call.call}"
            assert not found, f"{call.number} {call.call}"
    conversation.end()
    assert refused == {}, json.dumps(refused, indent=1)


@pytest.mark.parametrize("name", NAMED)
def test_a_container_that_is_started_again_gets_its_address_by_its_name(
    bed: Bed, name: str
) -> None:
    conversation = Conversation(bed, recorded(name))
    given = defaultdict(list)
    for call, body, said in conversation.held():
        container = (body.get("Options") or {}).get(NAME)
        if call.call == "IpamDriver.RequestAddress" and container and not body["Address"]:
            given[body["PoolID"], container].append(said["Address"])
    conversation.end()
    assert any(len(addresses) > 1 for addresses in given.values())
    assert all(len(set(addresses)) == 1 for addresses in given.values()), given


def test_the_recordings_have_what_is_new_in_29() -> None:
    def calls(name: str) -> list[str]:
        lines = map(json.loads, recorded(name).read_text().splitlines())
        return [line["call"].partition(".")[2] for line in lines if line["ev"] == "req"]

    assert "Leave,Leave" in ",".join(calls("fail-program-external"))
    assert "Join,Leave" in ",".join(calls("fail-join"))
    restored = calls("daemon-live-restore-graceful")
    assert "RevokeExternalConnectivity" not in restored[restored.index("Activate", 5) :]
