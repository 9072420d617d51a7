"""Every option that is not marked as fixed changes while a container has the network.

Each is tried with the example in its row.
"""

from collections.abc import Mapping

import pytest

from ovsdriver.domain.records.model import EndpointId
from ovsdriver.words import options
from ovsdriver.words.changes import OtherOptions
from ovsdriver.words.options import Option, Scope
from tests.builders import FIRST, RED
from tests.option_examples import typed
from tests.unit.service.conftest import Host

LIVE = [
    pytest.param(row, id=f"{scope.value}-{row.name}")
    for scope in (Scope.NETWORK, Scope.ENDPOINT)
    for row in options.rows(scope)
    if not row.fixed
]


@pytest.mark.parametrize("row", LIVE)
async def test_an_option_changes_and_is_kept_and_goes_back(host: Host, row: Option) -> None:
    said = typed(row)
    # What the example types beside it changes with it, unless one of that cannot change.
    fixed = any(options.row(row.scope, name).fixed for name in said)
    first = {
        name: text
        for name, text in said.items()
        if name != row.name and (fixed or (name, text) == ("ovs.mode", "flat"))
    }
    changes = {name: text for name, text in said.items() if name not in first}
    for nic in ("eth1", "eth2"):
        host.links.add_link(nic)
    host.switch.other_config = {"vlan-limit": "2"}
    await host.create_network(family=6 if "--ipv6" in row.example else 4, said=first)
    await host.run_container(FIRST)

    old, new = await change(host, row, changes)
    assert new is not None
    assert row.parse(new) == row.parse(said[row.name])
    assert old != new
    assert not (await host.reconciler.reconcile()).mended
    again = await host.restart()
    try:
        assert not (await again.reconciler.reconcile()).mended
        assert await change(again, row, dict.fromkeys(changes, "")) == (new, old)
    finally:
        await again.stop()


async def change(
    host: Host, row: Option, typed: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """Change options and return the old and the new value of that of ``row``."""
    if row.scope is Scope.NETWORK:
        done = await host.changes.network(RED, OtherOptions(typed=typed))
    else:
        done = await host.changes.endpoint(EndpointId(FIRST), OtherOptions(typed=typed))
    assert done.pending == ()
    return done.old[row.name], done.new[row.name]
