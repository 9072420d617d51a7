"""The running process, asked over its admin socket."""

import asyncio
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import aiohttp

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.asks import Ask
from ovsdriver.cli.outcome import Exit, Refusal
from ovsdriver.config import Settings

T = TypeVar("T")
A = TypeVar("A", bound=Ask[object])

PATIENCE = 4 / 3
"""Times as long as the process gives itself, so that its own sentence arrives."""


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
