"""The running process, as the page's server asks it."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import aiohttp

from ovsdriver import codec
from ovsdriver.admin import asks
from ovsdriver.admin.asks import Ask

T = TypeVar("T")

_PATIENCE = 4 / 3
"""Times as long as the process gives itself, so that its own sentence arrives."""


class AnsweredError(Exception):
    """The process refused, or there is no answer; the text is a sentence for people."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status
        """An HTTP status that says the same; 502: nobody answers."""


class Asking:
    """Asks, one connection kept for each socket."""

    def __init__(self, run_dir: Path) -> None:
        self._view = run_dir / "view.sock"
        self._admin = run_dir / "admin.sock"
        self._sessions: dict[Path, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close what is open."""
        for each in self._sessions.values():
            await each.close()

    async def look(self, question: Ask[T]) -> T:
        """Ask what changes nothing; AnsweredError."""
        return _read(question, await self.text(question))

    async def text(self, question: Ask[object]) -> str:
        """Return the answer as JSON, for who only hands it on; AnsweredError."""
        path = f"/ask/{asks.word(type(question))}"
        query = {asks.IN_QUERY: codec.encode(question)}
        return (await self._body(self._view, "GET", path, question.SECONDS, query=query)).decode()

    async def change(self, question: Ask[T]) -> T:
        """Ask for a change, which takes the right to open the admin socket; AnsweredError."""
        path = f"/ask/{asks.word(type(question))}"
        data = codec.encode(question).encode()
        body = await self._body(self._admin, "POST", path, question.SECONDS, data=data)
        return _read(question, body.decode())

    async def _body(
        self,
        place: Path,
        method: str,
        path: str,
        seconds: float,
        *,
        query: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=seconds * _PATIENCE)
        try:
            async with self._session(place).request(
                method,
                path,
                params=query,
                data=None if data is None else BytesIO(data),
                timeout=timeout,
            ) as response:
                body = await response.read()
        except aiohttp.ClientConnectorError as error:
            raise _unreachable(place, error.os_error) from error
        except TimeoutError as error:
            raise AnsweredError(
                f"ovsnet did not answer in {seconds:g} s; look at its log (journalctl -u ovsnet)",
                504,
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise AnsweredError(
                f"{place} broke off: {error}; is ovsnet restarting?", 502
            ) from error
        if response.status != 200:
            sentence = codec.decode(asks.Refused, body).error
            raise AnsweredError(sentence or f"ovsnet answered {response.status}", response.status)
        return body

    def _session(self, place: Path) -> aiohttp.ClientSession:
        if place not in self._sessions:
            self._sessions[place] = aiohttp.ClientSession(
                "http://ovsnet", connector=aiohttp.UnixConnector(str(place))
            )
        return self._sessions[place]


def _read(question: Ask[T], body: str) -> T:
    try:
        return codec.decode(asks.answer(type(question)), body)
    except codec.UnreadableError as error:
        raise AnsweredError(
            f"ovsnet's answer cannot be read ({error}); restart ovsnet and `ovsnet web`, so that "
            "both are of one version",
            502,
        ) from error


def _unreachable(place: Path, why: OSError) -> AnsweredError:
    if isinstance(why, PermissionError):
        return AnsweredError(
            f"no permission to open {place}; type `ovsnet web` as root, or join the group that "
            "view_group names",
            502,
        )
    return AnsweredError(
        f"ovsnet is not running: nobody listens on {place}. Type `systemctl start ovsnet`", 502
    )
