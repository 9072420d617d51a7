"""The admin socket's page for plans of networks."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Protocol

from aiohttp import web

from ovsdriver.domain.plan.preview import Preview
from ovsdriver.errors import InvalidRequestError
from ovsdriver.service.networks.previewer import WantedNetwork
from ovsdriver.words import in_force, options, values
from ovsdriver.words.fields import Fields

PLAN_S = 15.0


class PlanDesk(Protocol):
    """What a person may ask to be told."""

    async def plan(self, wish: WantedNetwork) -> Preview:
        """Return what a network would make."""
        ...


def routes(desk: PlanDesk) -> Sequence[web.RouteDef]:
    """Return the pages; errors are left to the application's middleware."""
    return (web.post("/plan", _Pages(desk).plan),)


class _Pages:
    def __init__(self, desk: PlanDesk) -> None:
        self._desk = desk

    async def plan(self, request: web.Request) -> web.Response:
        """``{"options": {"ovs.vlan": "30"}, "subnets": [{"subnet": "10.0.0.0/24"}], …}``."""
        async with asyncio.timeout(PLAN_S):
            body = Fields.parse(await request.read())
            said = body.inner("options")
            internal = body.flag("internal")
            wish = WantedNetwork(
                options=options.network(
                    {key: said.text(key) for key, _ in said.items()}, internal=internal
                ),
                internal=internal,
                ipv6=body.flag("ipv6"),
                subnets=tuple(
                    _read(values.subnet, each.required("subnet")) for each in body.each("subnets")
                ),
                gateways=tuple(
                    _read(values.address, each.required("address"))
                    for each in body.each("gateways")
                ),
            )
            found = await self._desk.plan(wish)
        return web.json_response(text=json.dumps(_plain(found), default=str))


def _read(parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        raise InvalidRequestError(str(error)) from error


def _plain(found: Preview) -> dict[str, Any]:
    network, segment = found.network, found.network.segment
    return {
        "bridge": segment.bridge,
        "adopted": segment.adopted,
        "datapath": segment.datapath.value,
        "vlan": segment.tag,
        "mode": network.mode.value,
        "mtu": network.mtu,
        "subnets": [
            {"cidr": str(each.cidr), "gateway": str(each.gateway) if each.gateway else None}
            for each in network.subnets
        ],
        "options": {k: v for k, v in in_force.of_network(network).items() if v is not None},
        "rows": [
            {
                "table": each.table,
                "name": each.name,
                "there": each.there,
                "columns": dict(each.columns),
            }
            for each in found.rows
        ],
        "links": [
            {"name": e.name, "what": e.what, "mtu": e.mtu, "addresses": list(e.addresses)}
            for e in found.links
        ],
        "rules": list(found.rules),
        "flows_each": len(found.container.flows),
        "meters_each": len(found.container.meters),
        "warnings": list(found.warnings),
    }
