"""The admin socket's pages about pools and addresses."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web
from netaddr import IPAddress

from ovsdriver.admin.ipam_report import LeasePage, PoolUse, Released, ReleasedPool
from ovsdriver.errors import InvalidRequestError
from ovsdriver.words import values

READ_S = 15.0
"""For an answer from memory or of one page, and for Docker, which has 10 s to tell its names."""

PAGE = 1000
PAGE_MOST = 5000
"""Leases of one answer: about 1 MB of JSON, and one read between two commits."""


class Addresses(Protocol):
    """What a person may ask of pools and addresses."""

    async def pools(self, text: str = "") -> Sequence[PoolUse]:
        """Return the pools that ``text`` means; all of them if it is empty."""
        ...

    async def leases(self, pool: str, *, after: IPAddress | None, limit: int) -> LeasePage:
        """Return the leases of a pool above ``after``, at most ``limit``."""
        ...

    async def release(
        self, address: IPAddress, *, pool: str = "", network: str = "", force: bool = False
    ) -> Released:
        """Release an address."""
        ...

    async def release_pool(self, pool: str, *, force: bool = False) -> ReleasedPool:
        """Release a pool by its id, with all of its addresses."""
        ...


def routes(addresses: Addresses) -> Sequence[web.RouteDef]:
    """Return the pages; errors are left to the application's middleware."""
    pages = _Pages(addresses)
    return (
        web.get("/ipam/pools", pages.pools),
        web.get("/ipam/leases", pages.leases),
        web.delete("/ipam/leases/{address}", pages.release),
        web.delete("/ipam/pools", pages.release_pool),
    )


class _Pages:
    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses

    async def pools(self, request: web.Request) -> web.Response:
        async with asyncio.timeout(READ_S):
            pools = await self._addresses.pools(request.query.get("of", ""))
        return await _answer(lambda: {"pools": [asdict(each) for each in pools]})

    async def leases(self, request: web.Request) -> web.Response:
        query = request.query
        after = _address("after", query["after"]) if query.get("after") else None
        async with asyncio.timeout(READ_S):
            page = await self._addresses.leases(
                query.get("pool", ""), after=after, limit=_limit(query.get("limit", ""))
            )
        return await _answer(lambda: asdict(page))

    async def release(self, request: web.Request) -> web.Response:
        query = request.query
        async with asyncio.timeout(READ_S):
            released = await self._addresses.release(
                _address("address", request.match_info["address"]),
                pool=query.get("pool", ""),
                network=query.get("network", ""),
                force=query.get("force", "").lower() in ("1", "true"),
            )
        return web.json_response(asdict(released))

    async def release_pool(self, request: web.Request) -> web.Response:
        query = request.query
        if not query.get("pool"):
            raise InvalidRequestError("pool: missing; say which pool is to be released")
        async with asyncio.timeout(READ_S):
            released = await self._addresses.release_pool(
                query["pool"], force=query.get("force", "").lower() in ("1", "true")
            )
        return web.json_response(asdict(released))


async def _answer(record: Any) -> web.Response:
    # A page of thousands takes long to write down; the loop has other callers.
    return web.json_response(text=await asyncio.to_thread(lambda: json.dumps(record())))


def _address(name: str, text: str) -> IPAddress:
    try:
        return values.address(text)
    except ValueError as error:
        raise InvalidRequestError(f"{name}: {error}") from error


def _limit(text: str) -> int:
    if not text:
        return PAGE
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= PAGE_MOST):
        raise InvalidRequestError(
            f"limit: {values.quote(text)} is not a number from 1 to {PAGE_MOST}"
        )
    return int(text)
