"""Yardsticks of the benchmark through HTTP: servers that answer at once and do nothing.

    python null_servers.py bare|aiohttp SOCKET

``bare`` is a loop over sockets: with it the client measures itself. ``aiohttp`` is the HTTP
library's own way of answering, without a line of ours: no JSON is read, nothing is logged.
"""

import asyncio
import itertools
import select
import socket
import sys

from aiohttp import web

COUNTER = itertools.count(1)


def answer() -> bytes:
    """Return an address that was not returned before."""
    number = next(COUNTER)
    return b'{"Address": "10.%d.%d.%d/8", "Data": {}}' % (
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255,
    )


def bare(path: str) -> None:
    """Answer whatever comes in one piece."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(path)
    listening.listen(1024)
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    while True:
        for number, _ in poll.poll():
            if number == listening.fileno():
                connection, _ = listening.accept()
                connections[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
            elif connections[number].recv(65536):
                body = answer()
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                connections[number].sendall(head + body)
            else:
                connections.pop(number).close()


async def library(path: str) -> None:
    """Answer with aiohttp's low-level server."""

    async def handle(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.Response(body=answer())

    runner = web.ServerRunner(web.Server(handle, access_log=None))
    await runner.setup()
    await web.UnixSite(runner, path, backlog=1024).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "bare":
        bare(sys.argv[2])
    else:
        asyncio.run(library(sys.argv[2]))
