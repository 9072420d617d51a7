"""The admin socket's pages about reserved addresses."""

import asyncio
import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web
from netaddr import IPAddress

from ipam.errors import IpamError
from ipam.model import Reservation
from ovsdriver.admin.reservation_report import Changes, Entry, Made, Reserved
from ovsdriver.docker.ipam import global_twin
from ovsdriver.errors import InvalidRequestError
from ovsdriver.words import values
from ovsdriver.words.fields import Fields

READ_S = 15.0
"""For an answer from memory, and for Docker, which has 10 s to tell its names."""

BODY_BYTES = 8 << 20
"""A full space's reservations, each with a long name and a long note."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}")
"""As Docker allows them (moby, daemon/names/names.go)."""

_GLOBAL = global_twin("")


class Reservations(Protocol):
    """What a person may ask of reserved addresses."""

    async def reservations(
        self, *, pool: str = "", network: str = "", space: str = ""
    ) -> Sequence[Reserved]:
        """Return those in pools, of a network and in a space; all if nothing is said."""
        ...

    async def reserve(
        self,
        address: IPAddress,
        *,
        name: str = "",
        note: str = "",
        pool: str = "",
        network: str = "",
        space: str = "",
        rename: bool = False,
    ) -> Made:
        """Keep an address; ``rename``: for another name than it is."""
        ...

    async def reserve_any(
        self, *, name: str, note: str = "", pool: str = "", network: str = "", space: str = ""
    ) -> Made:
        """Keep the lowest free address of a network."""
        ...

    async def remove(
        self, address: IPAddress, *, pool: str = "", network: str = "", space: str = ""
    ) -> Entry:
        """Keep an address for nobody any more."""
        ...

    async def apply(
        self,
        wanted: Sequence[Reservation],
        *,
        prune: Collection[str] | None = (),
        rename: bool = False,
        dry_run: bool = False,
    ) -> Changes:
        """Keep every address of a list; end further ones of the spaces ``prune``, None: of all."""
        ...


def routes(reservations: Reservations) -> Sequence[web.RouteDef]:
    """Return the pages; errors are left to the application's middleware."""
    pages = _Pages(reservations)
    return (
        web.get("/ipam/reservations", pages.reservations),
        web.post("/ipam/reservations", pages.reserve),
        web.put("/ipam/reservations", pages.apply),
        web.delete("/ipam/reservations/{address}", pages.remove),
    )


class _Pages:
    def __init__(self, reservations: Reservations) -> None:
        self._reservations = reservations

    async def reservations(self, request: web.Request) -> web.Response:
        where = _where(request.query.get("space", ""), request.query.get)
        async with asyncio.timeout(READ_S):
            found = await self._reservations.reservations(**where)
        return await _answer(lambda: {"reservations": [asdict(each) for each in found]})

    async def reserve(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(READ_S):
            body = Fields.parse(await _body(request))
            address = body.address("address")
            name, note = _name(body), body.text("note")
            where = _where(body.text("space"), lambda key, _: body.text(key))
            if address is not None:
                made = await self._reservations.reserve(
                    address, name=name, note=note, rename=body.flag("replace"), **where
                )
            elif name:
                made = await self._reservations.reserve_any(name=name, note=note, **where)
            else:
                raise body.refusal("address", "missing; say which one, or a name for the next free")
        return web.json_response(asdict(made))

    async def apply(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(READ_S):
            content = await _body(request)
            # Thousands take long to read; the loop has other callers.
            body, wanted, prune = await asyncio.to_thread(_list, content)
            try:
                changes = await self._reservations.apply(
                    wanted,
                    prune=prune,
                    rename=body.flag("replace"),
                    dry_run=body.flag("dry_run"),
                )
            except IpamError as error:
                if error.index is None:
                    raise
                raise type(error)(f"reservations[{error.index}]: {error}") from error
        return await _answer(lambda: asdict(changes))

    async def remove(self, request: web.Request) -> web.Response:
        where = _where(request.query.get("space", ""), request.query.get)
        try:
            address = values.address(request.match_info["address"])
        except ValueError as error:
            raise InvalidRequestError(f"address: {error}") from error
        async with asyncio.timeout(READ_S):
            removed = await self._reservations.remove(address, **where)
        return web.json_response(asdict(removed))


def _list(content: bytes) -> tuple[Fields, list[Reservation], Collection[str] | None]:
    body = Fields.parse(content)
    wanted = []
    for each in body.each("reservations"):
        address = each.address("address")
        if address is None:
            raise each.refusal("address", "missing; a reservation is of an address")
        wanted.append(
            Reservation(
                space=_space(each.required("space"), each),
                address=address,
                name=_name(each),
                note=each.text("note"),
            )
        )
    if body.flag("prune_all"):
        return body, wanted, None
    return body, wanted, {_space(each.required("space"), each) for each in body.each("prune")}


def _where(space: str, said: Callable[[str, str], str | None]) -> dict[str, str]:
    return {
        "pool": said("pool", "") or "",
        "network": said("network", "") or "",
        "space": _space(space, Fields({})) if space else "",
    }


def _space(text: str, place: Fields) -> str:
    try:
        # Swarm's own have that end, and their addresses may be reserved too.
        values.space(text.removesuffix(_GLOBAL))
    except ValueError as error:
        raise place.refusal("space", error) from error
    return text


def _name(body: Fields) -> str:
    name = body.text("name")
    if name and not _NAME.fullmatch(name):
        raise body.refusal(
            "name",
            f"{values.quote(name)} cannot be a container's name: letters, digits, `_`, `.` and "
            "`-`, a letter or digit first",
        )
    return name


async def _body(request: web.Request) -> bytes:
    parts = []
    size = 0
    async for part in request.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > BODY_BYTES:
            raise InvalidRequestError(
                f"the request is longer than {BODY_BYTES >> 20} MiB; give the reservations in "
                "several files"
            )
    return b"".join(parts)


async def _answer(record: Callable[[], Any]) -> web.Response:
    # A list of thousands takes long to write down; the loop has other callers.
    return web.json_response(text=await asyncio.to_thread(lambda: json.dumps(record())))
