"""Every request of every recorded conversation, to the real server, over real sockets."""

from collections import Counter
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.wire.conversation import (
    Answer,
    Plugin,
    Recorded,
    calls,
    plugin,
    recordings,
    with_pool,
)
from tests.unit.wire.shapes import NEEDED, assert_well_formed

pytestmark = pytest.mark.slow

NO_ARGUMENTS = {
    "Plugin.Activate",
    "NetworkDriver.GetCapabilities",
    "IpamDriver.GetCapabilities",
    "IpamDriver.GetDefaultAddressSpaces",
}

UNKNOWN_OPTIONS = {
    *("color", "Color", "flag", "recnet.alloc", "tier", "Tier", "vlan"),
    *("pool", "Pool", "seed", "a", "b", "speed", "x"),
}
"""What the recordings' user typed for the plugin that was recorded; to us these are typos."""

UNKNOWN_OBJECTS = {
    "auto-pool-overlaps-host": 1,
    "v29-auto-pool-overlaps-host": 1,
}
"""Calls for pools that the recording does not show being made: it was shortened."""

FULL_POOLS = {"net-create-multiple-subnets": 1}

GENERIC = "com.docker.network.generic"


def unknown_options(call: Recorded) -> set[str]:
    """Return the options in ``call`` that we have to refuse."""
    if not isinstance(call.body, dict):
        return set()
    options = call.body.get("Options") or {}
    return UNKNOWN_OPTIONS & {*options, *(options.get(GENERIC) or {})}


def without_unknown(call: Recorded) -> Recorded:
    """Return ``call`` as the user types it after the refusal."""
    body = deepcopy(call.body)
    assert isinstance(body, dict)
    for options in (body["Options"], body["Options"].get(GENERIC) or {}):
        for name in UNKNOWN_OPTIONS & set(options):
            del options[name]
    return replace(call, body=body)


def known(call: Recorded, served: Plugin) -> bool:
    """Whether everything that ``call`` needs was made before in this conversation."""
    body = call.body
    assert isinstance(body, dict)
    match call.call:
        case "NetworkDriver.CreateEndpoint":
            return body["NetworkID"] in served.networks.created
        case "NetworkDriver.Join" | "NetworkDriver.ProgramExternalConnectivity":
            return body["EndpointID"] in served.endpoints.created
        case "IpamDriver.RequestAddress":
            return body["PoolID"] in served.ipam.pools
    return True


def assert_refused(answer: Answer, *words: str) -> None:
    assert answer.status == 400
    for word in words:
        assert word in answer.error


async def replay(recording: Path, served: Plugin) -> Counter[str]:
    """Send all of a recording; returns how many calls were accepted, and why others were not."""
    outcomes: Counter[str] = Counter()
    pools: dict[str, str] = {}
    async with served.connection("ovsnet") as network, served.connection("ovsipam") as addresses:
        for recorded in calls(recording):
            connection = addresses if recorded.socket == "recipam" else network
            call = with_pool(recorded, pools)
            if call.body is None and call.call not in NO_ARGUMENTS:
                assert_refused(await connection.post(call.call, call.raw), "empty")
                outcomes["empty"] += 1
                continue
            if names := unknown_options(call):
                answer = await connection.post(call.call, call.raw)
                assert answer.status == 400
                assert any(f'"{name}"' in answer.error for name in names)
                call = without_unknown(call)
            expected = call.body is None or known(call, served)
            answer = await connection.post(call.call, call.raw)
            if not expected:
                assert_refused(answer, "is not known")
                outcomes["unknown"] += 1
            elif answer.status == 409:
                assert answer.error.endswith("is full")
                outcomes["full"] += 1
            else:
                assert answer.status == 200, f"{recorded.number} {call.call}: {answer.raw!r}"
                assert_well_formed(call.call, answer.json)
                outcomes["accepted"] += 1
                if isinstance(recorded.answer, dict) and recorded.answer.get("PoolID"):
                    pools[str(recorded.answer["PoolID"])] = str(answer.json["PoolID"])
    return outcomes


@pytest.mark.parametrize("recording", recordings(), ids=lambda path: path.stem)
async def test_every_recorded_request_gets_an_answer_that_dockerd_can_read(
    recording: Path, tmp_path: Path
):
    async with plugin(tmp_path) as served:
        outcomes = await replay(recording, served)
    assert outcomes.total() == len(calls(recording))
    assert outcomes["unknown"] == UNKNOWN_OBJECTS.get(recording.stem, 0)
    assert outcomes["full"] == FULL_POOLS.get(recording.stem, 0)


def test_the_recordings_hold_broken_retries_strange_options_and_nearly_every_call():
    every = [call for recording in recordings() for call in calls(recording)]
    broken = [call for call in every if call.body is None and call.call not in NO_ARGUMENTS]
    assert len(every) > 4000
    assert len(broken) == 10
    assert sum(bool(unknown_options(call)) for call in every) > 20
    assert set(NEEDED) - {call.call for call in every} == {"NetworkDriver.DiscoverDelete"}
