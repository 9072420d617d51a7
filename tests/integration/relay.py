"""Stands between a client and a server, and loses or cuts up what the server says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path


class Relay:
    """Stands between client and server, and can lose or cut up what the server says."""

    def __init__(self, path: str, piece: int) -> None:
        self._path = path
        self._piece = piece
        self._writers: list[asyncio.StreamWriter] = []
        self.address = ""
        self.connections = 0
        self.drop_replies = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        from_server, to_server = await asyncio.open_unix_connection(self._path)
        self._writers += [writer, to_server]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._pass(reader, to_server, len, lossy=False))
            tasks.create_task(self._pass(from_server, writer, lambda _: self._piece, lossy=True))

    def cut(self) -> None:
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        size: Callable[[bytes], int],
        *,
        lossy: bool,
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                for start in range(0, len(data), size(data)):
                    if not (lossy and self.drop_replies):
                        writer.write(data[start : start + size(data)])
                        await writer.drain()
        writer.close()


@asynccontextmanager
async def relayed(
    server: Path, *, piece: int = 65536, path: Path | None = None
) -> AsyncIterator[Relay]:
    """A relay on TCP, or on a unix socket, to the unix socket of a server."""
    relay = Relay(str(server), piece)
    if path is None:
        listener = await asyncio.start_server(relay.serve, "127.0.0.1", 0)
        relay.address = f"tcp:127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    else:
        listener = await asyncio.start_unix_server(relay.serve, path)
        relay.address = f"unix:{path}"
    try:
        yield relay
    finally:
        relay.cut()
        listener.close()
        await listener.wait_closed()
