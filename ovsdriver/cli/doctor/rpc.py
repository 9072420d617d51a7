"""One question to a JSON-RPC server of Open vSwitch's, and its answer.

``check`` runs where nothing else of ours does and asks once, so it does not load the client that
the process keeps its connection with.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

TIMEOUT_S = 5.0

_ID = "check"


class RpcError(Exception):
    """Nobody there, no answer, or one that says no; the text is a part of a sentence."""


async def ask(
    address: str, method: str, params: Sequence[Any], timeout_s: float = TIMEOUT_S
) -> Any:
    """Return the result of one call.

    Args:
        address: ``unix:PATH`` or ``tcp:HOST:PORT``, an IPv6 host in brackets.
        method: of RFC 7047, or of ovs-appctl's control sockets.
        params: its parameters.
        timeout_s: for everything.

    Raises:
        RpcError: see there.
    """
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await _connect(address)
            try:
                writer.write(
                    json.dumps({"id": _ID, "method": method, "params": list(params)}).encode()
                )
                await writer.drain()
                reply = await _reply(reader)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError as error:
        raise RpcError(f"no answer in {timeout_s:g} s") from error
    except OSError as error:
        raise RpcError(error.strerror or str(error)) from error
    if reply.get("error"):
        raise RpcError(f"it said {reply['error']}")
    return reply.get("result")


async def ask_vswitchd(ovsdb: str, method: str, params: Sequence[Any]) -> str | None:
    """Return what the ovs-vswitchd beside a database answers; None if none does."""
    kind, _, place = ovsdb.partition(":")
    folder = Path(place).parent if kind == "unix" else Path("/var/run/openvswitch")
    for control in await asyncio.to_thread(lambda: sorted(folder.glob("*vswitchd*.ctl"))):
        with suppress(RpcError):  # of a daemon that was killed
            return str(await ask(f"unix:{control}", method, params))
    return None


async def _connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    kind, _, place = address.partition(":")
    if kind == "unix" and place:
        return await asyncio.open_unix_connection(place)
    host, _, port = place.rpartition(":")
    if kind == "tcp" and host and port.isdecimal():
        return await asyncio.open_connection(host.strip("[]"), int(port))
    raise RpcError("not an address; write unix:PATH or tcp:HOST:PORT")


async def _reply(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Read objects, which follow each other without separators, until the one for us."""
    decoder = json.JSONDecoder()
    text = ""
    while chunk := await reader.read(65_536):
        text += chunk.decode()
        while text:
            try:
                message, end = decoder.raw_decode(text)
            except ValueError:
                break  # the rest is on its way
            text = text[end:].lstrip()
            if isinstance(message, dict) and message.get("id") == _ID and "result" in message:
                return message
    raise RpcError("it closed the connection")
