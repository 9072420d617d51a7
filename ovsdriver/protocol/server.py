"""HTTP on the plugin sockets: bytes to a call, its reply or its error back; knows no method.

What dockerd's client asks for (moby, pkg/plugins/client.go and transport/http.go):

- every answer is one JSON object, with text in ``Err`` (network drivers, and any status but 200)
  and in ``Error`` (IPAM drivers);
- 404 only for a call that we do not have: two network calls read it as "not implemented" and
  drop the error;
- connections are never closed by us while idle: dockerd may just be reusing one, and then sends
  its request again *without the body*;
- a call whose caller has gone away is finished all the same: dockerd acts on what it asked for.
"""

import asyncio
import itertools
import json
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ipam import IpamError
from ovsdriver.errors import DriverError, InvalidRequestError
from ovsdriver.logs import REQUEST, event
from ovsdriver.metrics import Metrics
from ovsdriver.protocol.fields import Fields
from ovsdriver.protocol.values import quote

log = logging.getLogger(__name__)

Reply = Mapping[str, object]

DEADLINE_S = 10.0
"""Default for a call: dockerd itself has none, and its user would wait for ever."""

UNDO_S = 5.0
"""How long the answer to a call that was cut by its deadline waits for the undoing."""

BODY_LIMIT = 1 << 20
"""Bytes. The largest bodies of dockerd's, thousands of published ports, have a tenth of it."""

BACKLOG = 1024
"""Calls that the kernel queues while the process is busy; more than a host has containers
starting at once."""

_HEADERS = {"Content-Type": "application/vnd.docker.plugins.v1.2+json"}
_NO_BODY = Fields({})
_NEVER_S = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call that can be made."""

    answer: Callable[[Fields], Awaitable[Reply]]
    arguments: bool = True
    """It needs a body; without one it is a repetition that dockerd has broken."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    outcome: str
    why: str | None = None


def _success(reply: Reply) -> _Answer:
    return _Answer(200, json.dumps(reply).encode(), "ok")


def _failure(status: int, text: str, outcome: str) -> _Answer:
    return _Answer(status, json.dumps({"Err": text, "Error": text}).encode(), outcome, text)


class PluginServer:
    """Serves tables of calls on sockets that somebody else has made."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        deadline_s: float = DEADLINE_S,
        undo_s: float = UNDO_S,
        body_limit: int = BODY_LIMIT,
    ) -> None:
        self._metrics = metrics
        self._deadline_s = deadline_s
        self._undo_s = undo_s
        self._body_limit = body_limit
        self._numbers = itertools.count(1)
        self._open: set[asyncio.Task[_Answer]] = set()
        self._runners: list[web.ServerRunner] = []
        self._draining = False
        metrics.open.set_function(lambda: len(self._open))

    async def listen(self, sock: socket.socket, calls: Mapping[str, Call]) -> None:
        """Answer ``calls`` on a bound socket from now on; closing it becomes our task."""

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._handle(calls, request)

        server = _Listener(handle, request_factory=self._request, unreadable=self._unreadable)
        runner = web.ServerRunner(server, shutdown_timeout=self._undo_s)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, sock, backlog=BACKLOG).start()

    async def drain(self, timeout_s: float) -> None:
        """Take no new connections, finish open calls within ``timeout_s``, then close.

        Calls that come meanwhile on connections that are open are served too, and their
        connections closed with the answer: the next call is then refused, and comes again with
        its body when the next process listens.
        """
        self._draining = True
        for runner in self._runners:
            for site in runner.sites:
                await site.stop()
        await self._finish(timeout_s)
        for task in self._open:
            task.cancel()
        await self._finish(self._undo_s)
        for runner in self._runners:
            await runner.cleanup()
        if self._open:
            event(log, "server.calls-left", level=logging.WARNING, calls=len(self._open))

    async def _finish(self, timeout_s: float) -> None:
        """Wait until no call is open, those included that come while we wait."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while self._open and loop.time() < end:
            await asyncio.wait(self._open, timeout=end - loop.time())

    def _request(
        self,
        message: Any,
        payload: Any,
        protocol: Any,
        writer: Any,
        task: Any,
    ) -> web.BaseRequest:
        return web.BaseRequest(
            message,
            payload,
            protocol,
            writer,
            task,
            asyncio.get_running_loop(),
            client_max_size=self._body_limit,
        )

    async def _handle(
        self, calls: Mapping[str, Call], request: web.BaseRequest
    ) -> web.StreamResponse:
        began = time.perf_counter()
        # aiohttp runs each request in a task of its own, so this ends with the request.
        REQUEST.set(f"{next(self._numbers):x}")
        name = request.raw_path[1:]
        call = calls.get(name)
        if call is None:
            answer = _failure(404, f"no such call: {quote(name)}", "unknown")
        elif request.method != "POST":
            answer = _failure(405, f"{name}: {request.method} is not POST", "refused")
        else:
            answer = await self._bounded(name, self._work(name, call, request))
        took = time.perf_counter() - began
        # After the answer, which aiohttp writes before the loop's next turn: Docker does not wait
        # for our log.
        asyncio.get_running_loop().call_soon(
            self._note, name if call is not None else "unknown", answer, took
        )
        return self._response(answer)

    def _unreadable(self, why: str) -> web.StreamResponse:
        """Refuse what is not HTTP. The connection is of no more use, but the process is."""
        REQUEST.set(f"{next(self._numbers):x}")
        answer = _failure(400, f"the request is not HTTP: {quote(why)}", "refused")
        self._note("unknown", answer, 0.0)
        return self._response(answer, last=True)

    def _response(self, answer: _Answer, *, last: bool = False) -> web.Response:
        response = web.Response(body=answer.body, status=answer.status, headers=_HEADERS)
        if last or self._draining:
            response.force_close()
        return response

    async def _bounded(self, name: str, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        """Return the answer of ``work``, or of its deadline.

        The work is a task of its own, so that neither a caller who has gone away nor a slow undo
        of what was cut decides when the other one ends.
        """
        task = _begin(work)
        if task.done():
            return task.result()
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        await _end_of(task, self._deadline_s)
        if not task.done():
            task.cancel()
            await _end_of(task, self._undo_s)
        if task.done() and not task.cancelled():
            return task.result()  # in time, or in the moment in which it was cut
        state = "what it began is undone" if task.done() else "what it began is still being undone"
        return _failure(
            504,
            f"{name}: not done within {self._deadline_s:g} s; {state}. Try again, and look at "
            "`ovsnet status` if that does not end",
            "timeout",
        )

    async def _work(self, name: str, call: Call, request: web.BaseRequest) -> _Answer:
        try:
            body = await request.read()
            return _success(await call.answer(self._arguments(name, call, body)))
        except (DriverError, IpamError) as error:
            outcome = "refused" if error.status < 500 else "failed"
            return _failure(error.status, str(error), outcome)
        except web.HTTPRequestEntityTooLarge:
            text = f"{name}: the request has more than {self._body_limit} bytes"
            return _failure(413, f"{text}; no call of Docker's needs that many", "refused")
        except ConnectionError:
            return _failure(400, f"{name}: the caller went away within its request", "refused")
        except Exception as error:  # noqa: BLE001  # the edge: the process lives, the log has it all
            event(log, "request.crashed", level=logging.ERROR, method=name, fault=error)
            text = f"{name}: internal error; see the log of ovsnet on this host"
            return _failure(500, text, "crashed")

    @staticmethod
    def _arguments(name: str, call: Call, body: bytes) -> Fields:
        if not call.arguments:
            return _NO_BODY
        if not body:
            # dockerd repeats a call that was cut off, but its body is used up by the first try.
            raise InvalidRequestError(
                f"{name}: the request is empty. Docker repeats a call that was cut off in this "
                "way, as when ovsnet restarts; run the command again"
            )
        return Fields.parse(body)

    def _note(self, method: str, answer: _Answer, seconds: float) -> None:
        self._metrics.answered(method, answer.outcome, seconds)
        event(
            log,
            "request.done",
            level=logging.INFO if answer.status < 500 else logging.WARNING,
            method=method,
            outcome=answer.outcome,
            took_ms=seconds * 1000,
            why=answer.why,
        )


def _begin(work: Coroutine[Any, Any, _Answer]) -> asyncio.Task[_Answer]:
    """Start ``work`` at once where Python can: most calls end without ever waiting."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        task = asyncio.Task(work, loop=loop, eager_start=True)
    else:
        task = loop.create_task(work)
    return task


async def _end_of(task: asyncio.Task[_Answer], timeout_s: float) -> None:
    """Wait for the end of ``task``, but not longer; as ``asyncio.wait``, at a third of its cost."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def wake(_: object = None) -> None:
        if not ended.done():
            ended.set_result(None)

    timer = loop.call_later(timeout_s, wake)
    task.add_done_callback(wake)
    try:
        await ended
    finally:
        timer.cancel()
        task.remove_done_callback(wake)


class _Listener(web.Server):
    """Makes a connection's protocol, as aiohttp does it, but for what is not HTTP."""

    def __init__(
        self,
        handle: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        request_factory: Callable[..., web.BaseRequest],
        unreadable: Callable[[str], web.StreamResponse],
    ) -> None:
        super().__init__(handle, request_factory=request_factory)
        self._unreadable = unreadable

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, asyncio.get_running_loop(), unreadable=self._unreadable)


class _Connection(web.RequestHandler):
    """A connection. What aiohttp cannot parse is one line in our log, and not its traceback."""

    __slots__ = ("_refuse",)

    def __init__(
        self,
        manager: _Listener,
        loop: asyncio.AbstractEventLoop,
        *,
        unreadable: Callable[[str], web.StreamResponse],
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # what aiohttp's own runners pass
            auto_decompress=False,
            keepalive_timeout=_NEVER_S,
        )
        self._refuse = unreadable

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be parsed, or what failed around a call."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        # The rest of aiohttp's message shows the bytes in question, with a caret below them.
        return self._refuse((message or "").partition("\n")[0].rstrip(" :"))
