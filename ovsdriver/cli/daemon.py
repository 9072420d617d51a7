"""The running process, asked over its admin socket."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import aiohttp

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.asks import Ask
from ovsdriver.admin.events.views import EventReport
from ovsdriver.cli.outcome import Exit, Refusal
from ovsdriver.config import Settings

T = TypeVar("T")
A = TypeVar("A", bound=Ask[object])

PATIENCE = 4 / 3
"""Times as long as the process gives itself, so that its own sentence arrives."""

QUIET_S = 60.0
"""A stream says something four times as often; one that does not is dead."""


class NotRunning(Refusal):
    """Nobody listens on the admin socket."""


class NotAllowed(Refusal):
    """Whoever asks may not open the socket."""


def ask(settings: Settings, question: Ask[T]) -> T:
    """Ask the process, and wait for its answer.

    Who may not open the admin socket is answered on the view socket what changes nothing.

    Raises:
        Refusal: with its sentence, or one that says why there is no answer.
        NotRunning: nobody listens.
    """
    timeout_s = question.SECONDS * PATIENCE
    word = f"/ask/{asks.word(type(question))}"
    text = codec.encode(question)
    # As a file, which is sent in pieces: a list of thousands has megabytes.
    posted = _Question("POST", word, data=BytesIO(text.encode()))
    path = settings.run_dir / "admin.sock"
    try:
        body = _answered(path, posted, timeout_s)
    except NotAllowed as refused:
        if not question.LOOKS:
            raise
        path = settings.run_dir / "view.sock"
        try:
            shown = _Question("GET", word, params={asks.IN_QUERY: text})
            body = _answered(path, shown, timeout_s)
        except (NotAllowed, NotRunning):
            raise refused from None
    try:
        return codec.decode(asks.answer(type(question)), body)
    except codec.UnreadableError as error:
        raise _unreadable(path, error) from error


def metrics(settings: Settings) -> str:
    """Return what the process tells Prometheus; errors as of :func:`ask`."""
    path = settings.run_dir / "view.sock"
    return _answered(path, _Question("GET", "/metrics"), asks.READ_S * PATIENCE).decode()


class _Question(NamedTuple):
    method: str
    path: str
    data: BytesIO | None = None
    params: Mapping[str, str] | None = None


def _answered(socket: Path, question: _Question, timeout_s: float) -> bytes:
    try:
        return asyncio.run(_request(socket, question, timeout_s))
    except aiohttp.ClientConnectorError as error:
        raise _unreachable(socket, error.os_error) from error
    except TimeoutError as error:
        raise Refusal(
            f"ovsnet did not answer in {timeout_s:g} s on {socket}; look at its log "
            "(journalctl -u ovsnet)"
        ) from error
    except (aiohttp.ClientError, OSError, codec.UnreadableError) as error:
        raise _unreadable(socket, error) from error


class Heard(NamedTuple):
    """What a stream of events says."""

    last: int
    """Id of the last event that it has passed."""
    event: EventReport | None
    """None: there was none for us."""
    missed: bool = False
    """Some before were not kept."""


def follow(settings: Settings, wanted: asks.ListEvents, after: int | None) -> Iterator[Heard]:
    """Give the events that come after ``after``, or from now on, until the connection ends.

    Raises:
        Refusal: with the process's sentence.
        NotRunning: nobody listens, or it has only just been started.
    """
    path = settings.run_dir / "view.sock"
    with asyncio.Runner() as runner:
        stream = _stream(path, wanted, after)
        try:
            while True:
                yield runner.run(anext(stream))
        except StopAsyncIteration:
            return
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(path, error.os_error) from error
        except (aiohttp.ClientError, OSError):
            return
        finally:
            runner.run(stream.aclose())


async def _stream(
    path: Path, wanted: asks.ListEvents, after: int | None
) -> AsyncGenerator[Heard, None]:
    query = {"network": wanted.network, "container": wanted.container}
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=QUIET_S)
    async with (
        aiohttp.ClientSession(
            "http://ovsnet", connector=aiohttp.UnixConnector(str(path)), timeout=timeout
        ) as session,
        session.get(
            "/events", params={**query, "types": ",".join(wanted.types)}, headers=headers
        ) as response,
    ):
        if response.status != 200:
            sentence = codec.decode(asks.Refused, await response.read()).error
            if response.status == 503:  # it starts, and its store is not open
                raise NotRunning(sentence, Exit.NOT_RUNNING)
            raise Refusal(sentence or f"status {response.status}")
        block: dict[str, str] = {}
        async for line in response.content:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                block[name] = value
                continue
            last = int(block.get("id", after or 0))
            after = last
            if block.get("event") == "missed":
                yield Heard(last, None, missed=True)
            else:
                data = block.get("data")
                yield Heard(last, codec.decode(EventReport, data) if data else None)
            block = {}


def typed(kind: type[A], **said: object) -> A:
    """Return the request that says what was typed; Refusal with the word that makes no sense."""
    try:
        return codec.read(kind, said, strict=True)
    except codec.UnreadableError as error:
        raise Refusal(str(error)) from error


async def _request(socket: Path, question: _Question, timeout_s: float) -> bytes:
    """Return the answer; Refusal with its sentence if that is one."""
    async with (
        asyncio.timeout(timeout_s),
        aiohttp.ClientSession(
            "http://ovsnet", connector=aiohttp.UnixConnector(str(socket))
        ) as session,
        session.request(
            question.method, question.path, data=question.data, params=question.params
        ) as response,
    ):
        body = await response.read()
    if response.status != 200:
        raise Refusal(codec.decode(asks.Refused, body).error or f"status {response.status}")
    return body


def _unreadable(path: Path, why: Exception) -> Refusal:
    return Refusal(f"{path} gave an answer that cannot be read ({why}); is that ovsnet?")


def _unreachable(path: Path, why: OSError) -> Refusal:
    if isinstance(why, PermissionError):
        return NotAllowed(f"no permission to open {path}; try it as root: sudo ovsnet …")
    return NotRunning(
        f"ovsnet is not running (nobody listens on {path}); start it with "
        "`systemctl start ovsnet` or `ovsnet serve`, or say where it is with --run-dir",
        Exit.NOT_RUNNING,
    )
