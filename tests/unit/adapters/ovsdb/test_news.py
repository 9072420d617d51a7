"""What a notification of the database is about: ports of containers alone, or more."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest

from ovsdriver.adapters.ovs.rows.news import News
from ovsdriver.adapters.ovsdb import RowChange
from ovsdriver.domain.records import names
from ovsdriver.domain.records.model import EndpointId

OWNER = "ovsnet"
ONE, TWO = EndpointId("1" * 64), EndpointId("2" * 64)


def ids(endpoint: str | None, owner: str = OWNER) -> dict[str, str]:
    return {names.OWNER_KEY: owner} | ({names.ENDPOINT_KEY: endpoint} if endpoint else {})


def port(endpoint: str | None = ONE, owner: str = OWNER, **columns: Any) -> dict[str, Any]:
    return {"name": "p", "tag": 5, "external_ids": ids(endpoint, owner), **columns}


def interface(endpoint: str | None = ONE, **columns: Any) -> dict[str, Any]:
    row = {"name": "p", "ofport": None, "ifindex": None, "error": None}
    return {**row, "external_ids": ids(endpoint), **columns}


def bridge(**columns: Any) -> dict[str, Any]:
    return {"name": "b", "ports": set(), "fail_mode": None, "external_ids": ids(None), **columns}


def port_comes(endpoint: str = ONE) -> list[RowChange]:
    return [
        RowChange("Bridge", bridge(), bridge(ports={"x"})),
        RowChange("Port", None, port(endpoint)),
        RowChange("Interface", None, interface(endpoint)),
    ]


def port_goes(endpoint: str = ONE) -> list[RowChange]:
    return [RowChange(each.table, each.new, each.old) for each in port_comes(endpoint)[1:]] + [
        RowChange("Bridge", bridge(ports={"x"}), bridge())
    ]


TAKEN = RowChange("Interface", interface(), interface(ofport=3, ifindex=8))


async def told(*batches: list[RowChange]) -> list[Collection[EndpointId] | None]:
    news, heard = News(OWNER), []
    news.call(heard.append)
    for batch in batches:
        news.rows(batch)
    await asyncio.sleep(0)
    return heard


@pytest.mark.parametrize(
    ("changes", "endpoints"),
    [
        pytest.param(port_comes(), {ONE}, id="comes"),
        pytest.param(port_goes(), {ONE}, id="goes"),
        pytest.param([*port_comes(), *port_goes(TWO)], {ONE, TWO}, id="one comes, one goes"),
        pytest.param([TAKEN], {ONE}, id="taken by vswitchd"),
        pytest.param(
            [RowChange("Interface", interface(ofport=3), interface(ofport=3, ifindex=8))],
            {ONE},
            id="its device is known later",
        ),
    ],
)
async def test_ports_of_containers_are_told_by_their_endpoints(
    changes: list[RowChange], endpoints: set[EndpointId]
) -> None:
    assert await told(changes) == [endpoints]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([RowChange("Port", port(), port(tag=6))], id="another VLAN"),
        pytest.param(
            [RowChange("Interface", interface(), interface(ofport=-1, error="no such device"))],
            id="not taken",
        ),
        pytest.param(
            [RowChange("Interface", interface(ofport=3), interface(ofport=None))], id="given up"
        ),
        pytest.param(
            [
                RowChange(
                    "Interface", interface(ofport=3, ifindex=8), interface(ofport=3, ifindex=0)
                )
            ],
            id="its device is gone",
        ),
        pytest.param(
            [
                RowChange(
                    "Interface", interface(ofport=3, ifindex=8), interface(ofport=3, ifindex=9)
                )
            ],
            id="another device",
        ),
        pytest.param([RowChange("Bridge", bridge(), bridge(fail_mode="secure"))], id="bridge"),
        pytest.param(
            [RowChange("Bridge", bridge(), bridge(ports={"x"}))], id="who came is not said"
        ),
        pytest.param([RowChange("Port", None, port(None))], id="a gateway's port"),
        pytest.param([*port_comes(), RowChange("Port", None, port(None, "x"))], id="a stranger"),
        pytest.param([*port_comes(), RowChange("Bridge", None, bridge())], id="a bridge comes"),
    ],
)
async def test_all_else_of_ours_is_told_as_anything(changes: list[RowChange]) -> None:
    assert await told(changes) == [None]


async def test_what_arrives_together_is_told_once() -> None:
    assert await told(port_comes(ONE), port_comes(TWO), [TAKEN]) == [{ONE, TWO}]
    assert await told(port_comes(ONE), [RowChange("Port", port(), port(tag=6))]) == [None]


async def test_who_listens_late_hears_only_what_is_new() -> None:
    news, heard = News(OWNER), []
    news.everything(connected=True)
    news.rows([RowChange("Port", None, port(None))])
    news.call(heard.append)
    news.rows(port_comes())
    await asyncio.sleep(0)
    assert heard == [{ONE}]


async def test_what_is_of_others_alone_is_not_told() -> None:
    theirs = port(None, "somebody")
    assert await told([RowChange("Port", None, theirs), RowChange("Port", theirs, None)]) == []
