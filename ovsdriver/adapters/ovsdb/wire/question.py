"""One transaction on a connection of its own, for who asks now and then."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ovsdriver.adapters.ovsdb.wire.address import Address, Certificates
from ovsdriver.adapters.ovsdb.wire.connection import Connection


async def transact(
    address: Address,
    database: str,
    operations: Sequence[Mapping[str, Any]],
    *,
    certificates: Certificates | None,
    timeout_s: float,
) -> list[Any]:
    """Return the answer to each operation; TimeoutError, or OvsdbError if there is none."""
    async with asyncio.timeout(timeout_s):
        connection = await Connection.open(
            address,
            on_notification=lambda *_: None,
            probe_s=timeout_s,
            certificates=certificates,
        )
        serving = asyncio.create_task(connection.serve())
        try:
            answers: list[Any] = await connection.request("transact", [database, *operations])
        finally:
            connection.close()
            await asyncio.gather(serving, return_exceptions=True)
            await connection.closed()
    return answers
