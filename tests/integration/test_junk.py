"""Junk on the sockets of the real process, while somebody else allocates and releases.

``TESTS_JUNK_SECONDS`` says for how long generated junk is sent; without it, so many pieces of it
are. ``tests/run junk`` sends it for a minute.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.integration import junk
from tests.integration.bystander import SECONDS, Good, consistent, harms_nobody
from tests.integration.netns import Sandbox
from tests.integration.process import Process, Unix, made

pytestmark = pytest.mark.netns


@pytest.fixture
def process() -> Iterator[Process]:
    with Sandbox() as netns, made(netns.path) as alone:
        alone.start()
        yield alone


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as at_the_end:
        yield at_the_end


def test_every_member_wrong_in_turn_gets_a_sentence_and_harms_nobody(
    process: Process, stack: ExitStack
):
    good = stack.enter_context(closing(Good(process)))
    connection = stack.enter_context(closing(Unix(process.plugin_dir / "ovsipam.sock")))

    def tell(call: str, body: bytes) -> tuple[int, dict[str, Any]]:
        connection.request("POST", f"/{call}", body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    _, victim = tell(
        "IpamDriver.RequestPool", b'{"AddressSpace": "victim", "Pool": "10.98.0.0/24"}'
    )
    refused = 0
    with good.at_work():
        for call, body in junk.wrong_members(junk.IPAM, POOL=victim["PoolID"]):
            status, told = tell(call, body)
            assert 200 <= status < 500, (call, body[:200], told)
            if status != 200:
                refused += 1
                assert told["Err"] == told["Error"]
                assert told["Err"].isprintable(), (call, body[:200])
                assert len(told["Err"]) < 1000, (call, body[:200])
            elif call == "IpamDriver.RequestPool":
                # Otherwise the next one overlaps it, and is refused for that alone.
                released = json.dumps({"PoolID": told["PoolID"]}).encode()
                assert tell("IpamDriver.ReleasePool", released)[0] == 200
    assert refused > 500
    assert good.calls > 50
    consistent(process, good)


def test_generated_junk_harms_nobody(process: Process, stack: ExitStack):
    good = stack.enter_context(closing(Good(process)))
    _, victim = process.ask(
        "IpamDriver.RequestPool",
        {"AddressSpace": junk.SPACE, "Pool": junk.SUBNET, "Options": {}},
        name="ovsipam",
    )
    # Pools of junk stay among themselves.
    always = {"PoolID": victim["PoolID"], "AddressSpace": junk.SPACE}
    path = process.plugin_dir / "ovsipam.sock"
    with good.at_work():
        harms_nobody(process, junk.Junk(path, junk.IPAM, int(SECONDS), always))
    assert good.calls > 50
    consistent(process, good)
