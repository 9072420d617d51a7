"""The running process, asked over its admin socket."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
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


def ask(settings: Settings, question: Ask[T]) -> T:
    """Ask the process, and wait for its answer.

    Raises:
        Refusal: with its sentence, or one that says why there is no answer.
        NotRunning: nobody listens.
    """
    path = settings.run_dir / "admin.sock"
    timeout_s = question.SECONDS * PATIENCE
    try:
        body = asyncio.run(_request(path, question, timeout_s))
        return codec.decode(asks.answer(type(question)), body)
    except aiohttp.ClientConnectorError as error:
        raise _unreachable(path, error.os_error) from error
    except TimeoutError as error:
        raise Refusal(
            f"ovsnet did not answer in {timeout_s:g} s on {path}; look at its log "
            "(journalctl -u ovsnet)"
        ) from error
    except (aiohttp.ClientError, OSError, codec.UnreadableError) as error:
        raise Refusal(
            f"{path} gave an answer that cannot be read ({error}); is that ovsnet?"
        ) from error


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
        NotRunning: nobody listens.
    """
    path = settings.run_dir / "admin.sock"
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
            body = await response.read()
            raise Refusal(codec.decode(asks.Refused, body).error or f"status {response.status}")
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


async def _request(path: Path, question: Ask[object], timeout_s: float) -> bytes:
    """Return the answer; Refusal with its sentence if that is one."""
    # As a file, which is sent in pieces: a list of thousands has megabytes.
    data = BytesIO(codec.encode(question).encode())
    async with (
        asyncio.timeout(timeout_s),
        aiohttp.ClientSession(
            "http://ovsnet", connector=aiohttp.UnixConnector(str(path))
        ) as session,
        session.post(f"/ask/{asks.word(type(question))}", data=data) as response,
    ):
        body = await response.read()
    if response.status != 200:
        raise Refusal(codec.decode(asks.Refused, body).error or f"status {response.status}")
    return body


def _unreachable(path: Path, why: OSError) -> Refusal:
    if isinstance(why, PermissionError):
        return Refusal(f"no permission to open {path}; try it as root: sudo ovsnet …")
    return NotRunning(
        f"ovsnet is not running (nobody listens on {path}); start it with "
        "`systemctl start ovsnet` or `ovsnet serve`, or say where it is with --run-dir",
        Exit.NOT_RUNNING,
    )
