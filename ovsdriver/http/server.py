"""HTTP on the plugin sockets: bytes to a call, its reply or its error back; knows no method.

What dockerd's client asks for (moby, pkg/plugins/client.go and transport/http.go):

- every answer is one JSON object, with text in ``Err`` (network drivers, and any status but 200)
  and in ``Error`` (IPAM drivers);
- 404 only for a call that we do not have: two network calls read it as "not implemented" and
  drop the error;
- connections are never closed by us while idle: dockerd may just be reusing one, and then sends
  its request again *without the body*;
- a call whose caller has gone away is finished all the same: dockerd acts on what it asked for;
- a call that has reached us is answered, also while we end; see ``PluginServer.drain``.
"""

import asyncio
import itertools
import json
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from aiohttp import web

from ipam import IpamError
from ovsdriver.causes import CAUSE, DOCKER
from ovsdriver.errors import DriverError, InvalidRequestError
from ovsdriver.http.connection import CONTENT_TYPE, Answer, PlainConnection
from ovsdriver.http.fallback import AnyHttp
from ovsdriver.http.one_call import Exchange
from ovsdriver.http.served_socket import Site
from ovsdriver.logs import REQUEST, event
from ovsdriver.metrics import Metrics
from ovsdriver.words.fields import Fields
from ovsdriver.words.values import printable, quote

log = logging.getLogger(__name__)

Reply = Mapping[str, object]

DEADLINE_S = 10.0
"""Default for a call: dockerd itself has none, and its user would wait for ever."""

UNDO_S = 5.0
"""How long the answer to a call that was cut by its deadline waits for the undoing."""

BODY_LIMIT = 1 << 25
"""Bytes. dockerd names each published port three times, with some 110 bytes in all: every port of
TCP and UDP has 14 MB."""

BACKLOG = 1024
"""Calls that the kernel queues while the process is busy; more than a host has containers
starting at once."""

_HEADERS = {"Content-Type": CONTENT_TYPE}
_NO_BODY = Fields({})

_AGAIN_S = 0.1
"""For a caller who could not send on an idle connection to make another one."""
_STEP_S = 0.01


@dataclass(frozen=True, slots=True)
class Call:
    """One call that can be made."""

    answer: Callable[[Fields], Awaitable[Reply]]
    arguments: bool = True
    """It needs a body; without one it is a repetition that dockerd has broken."""


def _success(reply: Reply) -> Answer:
    return Answer(200, json.dumps(reply).encode(), "ok")


def _failure(status: int, text: str, outcome: str) -> Answer:
    text = printable(text)
    return Answer(status, json.dumps({"Err": text, "Error": text}).encode(), outcome, text)


class _Retiring(Protocol):
    """A connection, of either kind."""

    @property
    def idle(self) -> bool:
        """Whether it waits for a request; one may be there that was not read yet."""
        ...

    def retire(self) -> None:
        """Read no more than what was sent already, if it is idle."""
        ...


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
        self._open: dict[asyncio.Task[None], Exchange] = {}
        self._sites: list[Site] = []
        self._others: list[AnyHttp] = []
        self._connections: set[PlainConnection] = set()
        self._draining = False
        metrics.open.set_function(lambda: len(self._open))

    async def listen(
        self,
        sock: socket.socket,
        calls: Mapping[str, Call],
        *,
        leave: Callable[[], object] | None = None,
    ) -> None:
        """Answer ``calls`` on a bound socket from now on; closing it becomes our task.

        Args:
            sock: bound and listening, or only bound.
            calls: what can be called, by name.
            leave: takes the socket's name away, so that nobody connects any more. None if
                whoever comes next answers on this very socket: connections wait in it for him.
        """

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            return await self._handle(calls, request)

        def serve(name: str, body: bytes, answered: Callable[[Answer], None]) -> None:
            self._begin(calls, name, body, answered)

        def accepted() -> PlainConnection:
            connection = PlainConnection(
                serve,
                body_limit=self._body_limit,
                last=lambda: self._draining,
                others=others,
                closed=self._connections.discard,
            )
            self._connections.add(connection)
            return connection

        others = AnyHttp(handle, unreadable=self._unreadable, body_limit=self._body_limit)
        self._others.append(others)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(accepted, sock=sock, backlog=BACKLOG)
        self._sites.append(Site(sock, server, leave))

    async def drain(self, timeout_s: float) -> None:
        """Take no more calls, finish those that have come within ``timeout_s``, then close.

        A call that was cut off comes again from dockerd without its body, and is lost; one that
        was not taken comes again with it. So from an idle connection nothing is read any more,
        in one step of the kernel's: what was sent before is there and is answered, and what
        comes afterwards is not sent at all; dockerd's client then connects anew (net/http,
        transport.go, ``nothingWrittenError``). That is why a socket that ends with us is left
        only after the idle connections.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        self._draining = True
        for each in self._sites:
            if each.leave is None:
                await each.stop()
        await self._retire(end, lambda each: each.idle)
        if any(each.leave is not None for each in self._sites):
            await asyncio.sleep(_AGAIN_S)
        for each in self._sites:
            await each.end(BACKLOG)
        self._sites.clear()
        await self._retire(end, lambda _: True)
        await self._finish(end - loop.time())
        for task in self._open:
            task.cancel()
        await self._finish(self._undo_s)
        for exchange in tuple(self._open.values()):
            exchange.give_up()
        for connection in tuple(self._connections):
            connection.close()
        for others in self._others:
            others.pre_shutdown()
            await others.shutdown(self._undo_s)
        if self._open:
            event(log, "server.calls-left", level=logging.WARNING, calls=len(self._open))

    async def _retire(self, end: float, wanted: Callable[[_Retiring], bool]) -> None:
        """Read nothing more from idle connections until no ``wanted`` one is left, or ``end``."""
        loop = asyncio.get_running_loop()
        while True:
            # First, so that what was accepted just now is a connection.
            await asyncio.sleep(_STEP_S)
            left: list[_Retiring] = [*self._connections]
            left += [each for others in self._others for each in others.open()]
            for each in left:
                each.retire()
            if loop.time() >= end or not any(map(wanted, left)):
                return

    async def _finish(self, timeout_s: float) -> None:
        """Wait until no call is open, those included that come while we wait."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while self._open and loop.time() < end:
            await asyncio.wait(self._open, timeout=end - loop.time())

    def _begin(
        self,
        calls: Mapping[str, Call],
        name: str,
        body: bytes | web.BaseRequest,
        answered: Callable[[Answer], None],
    ) -> None:
        """Work on a call, and tell its answer to ``answered`` when its time is up at the latest.

        The work is a task of its own, so that neither a caller who has gone away nor a slow undo
        of what was cut decides when the other one ends.
        """
        exchange = Exchange(
            answered,
            note=partial(self._note, name if name in calls else "unknown"),
            too_late=self._too_late,
        )
        context = copy_context()
        context.run(REQUEST.set, f"{next(self._numbers):x}")
        context.run(CAUSE.set, DOCKER)
        task = _started(self._work(calls, name, body, exchange), context)
        if not task.done():
            self._open[task] = exchange
            task.add_done_callback(self._open.pop)
            context.run(exchange.bound, task, self._deadline_s, self._undo_s)

    async def _handle(
        self, calls: Mapping[str, Call], request: web.BaseRequest
    ) -> web.StreamResponse:
        """Work on a call that came in another form than dockerd's."""
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(given: Answer) -> None:
            if not answer.done():  # cancelled: the caller has gone away
                answer.set_result(given)

        self._begin(calls, request.raw_path[1:], request, answered)
        return self._response(await answer)

    def _unreadable(self, why: str) -> web.StreamResponse:
        """Refuse what is not HTTP. The connection is of no more use, but the process is."""
        REQUEST.set(f"{next(self._numbers):x}")
        answer = _failure(400, f"the request is not HTTP: {quote(why)}", "refused")
        self._note("unknown", answer, 0.0)
        return self._response(answer, last=True)

    def _response(self, answer: Answer, *, last: bool = False) -> web.Response:
        response = web.Response(body=answer.body, status=answer.status, headers=_HEADERS)
        if last or self._draining:
            response.force_close()
        return response

    async def _work(
        self,
        calls: Mapping[str, Call],
        name: str,
        body: bytes | web.BaseRequest,
        exchange: Exchange,
    ) -> None:
        call = calls.get(name)
        if call is None:
            answer = _failure(404, f"no such call: {quote(name)}", "unknown")
        else:
            answer = await self._answer(name, call, body)
        exchange.answer(answer)

    async def _answer(self, name: str, call: Call, body: bytes | web.BaseRequest) -> Answer:
        try:
            if isinstance(body, web.BaseRequest):
                if body.method != "POST":
                    return _failure(405, f"{body.method} is not POST", "refused")
                body = await body.read()
            return _success(await call.answer(self._arguments(call, body)))
        except (DriverError, IpamError) as error:
            outcome = "refused" if error.status < 500 else "failed"
            return _failure(error.status, str(error), outcome)
        except web.HTTPRequestEntityTooLarge:
            text = f"the request has more than {self._body_limit} bytes"
            return _failure(413, f"{text}; no call of Docker's needs that many", "refused")
        except ConnectionError:
            return _failure(400, "the caller went away within its request", "refused")
        except Exception as error:  # noqa: BLE001  # the edge: the process lives, the log has it all
            event(log, "request.crashed", level=logging.ERROR, method=name, fault=error)
            text = "internal error; see the log of ovsnet on this host"
            return _failure(500, text, "crashed")

    def _too_late(self, *, undone: bool) -> Answer:
        state = "what it began is undone" if undone else "what it began is still being undone"
        if self._draining:
            text = f"ovsnet was stopped before this was done; {state}. Try again"
            return _failure(504, text, "timeout")
        return _failure(
            504,
            f"not done within {self._deadline_s:g} s; {state}. Try again, and look at "
            "`ovsnet status` if that does not end",
            "timeout",
        )

    @staticmethod
    def _arguments(call: Call, body: bytes) -> Fields:
        if not call.arguments:
            return _NO_BODY
        if not body:
            # dockerd repeats a call that was cut off, but its body is used up by the first try.
            raise InvalidRequestError(
                "the request is empty. Docker repeats a call that was cut off in this "
                "way, as when ovsnet restarts; run the command again"
            )
        return Fields.parse(body)

    def _note(self, method: str, answer: Answer, seconds: float) -> None:
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


def _started(work: Coroutine[Any, Any, None], context: Context) -> asyncio.Task[None]:
    """Start ``work`` at once where Python can: many calls end without ever waiting."""
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        task = asyncio.Task(work, loop=loop, eager_start=True, context=context)
    else:
        task = loop.create_task(work, context=context)
    return task
