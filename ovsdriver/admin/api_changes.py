"""The admin socket's page for other options of what stands."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Protocol

from aiohttp import web

from ovsdriver.admin.desk_changes import Changed
from ovsdriver.words.changes import OtherOptions
from ovsdriver.words.fields import Fields

CHANGE_S = 120.0
"""For the ports of a large network."""


class ChangeDesk(Protocol):
    """What a person may ask to change."""

    async def change(self, target: str, wish: OtherOptions) -> Changed:
        """Change options of a network or a container."""
        ...


def routes(desk: ChangeDesk) -> Sequence[web.RouteDef]:
    """Return the pages; errors are left to the application's middleware."""
    return (web.post("/set", _Pages(desk).change),)


class _Pages:
    def __init__(self, desk: ChangeDesk) -> None:
        self._desk = desk

    async def change(self, request: web.Request) -> web.Response:
        """``{"target": "lab", "options": {"ovs.icc": "false", "ovs.mtu": ""}}``."""
        async with asyncio.timeout(CHANGE_S):
            body = Fields.parse(await request.read())
            said = body.inner("options")
            typed = {key: said.text(key) for key, _ in said.items()}
            if not typed:
                raise body.refusal("options", "missing; say what to change")
            changed = await self._desk.change(body.required("target"), OtherOptions(typed=typed))
        return web.json_response(text=json.dumps(asdict(changed)))
