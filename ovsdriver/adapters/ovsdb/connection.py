"""One JSON-RPC connection to ovsdb-server, on the loop."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Self

from ovs.jsonrpc import Message

from ovsdriver.adapters.ovsdb.errors import ConnectionLostError, RefusedError
from ovsdriver.adapters.ovsdb.framing import Splitter, decode, whole
from ovsdriver.errors import ConfigurationError

log = logging.getLogger(__name__)

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_CHUNK = 256 * 1024
_DEFAULT_PORT = 6640
"""IANA's for OVSDB (RFC 7047, section 6)."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where ovsdb-server listens, as Open vSwitch's own tools write it."""

    text: str
    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``unix:PATH``, ``tcp:HOST``, ``tcp:HOST:PORT``, ``tcp:[IPV6]:PORT``.

        Raises:
            ConfigurationError: it is none of these.
        """
        kind, _, rest = text.partition(":")
        if kind == "unix" and rest:
            return cls(text, path=rest)
        if kind == "tcp" and rest:
            host, port = _host_and_port(rest)
            if host and port.isdecimal() and 0 < int(port) < 65536:
                return cls(text, host=host, port=int(port))
        raise ConfigurationError(
            f"{text!r} is not an address of Open vSwitch's database: write unix:PATH, "
            "tcp:HOST:PORT or tcp:[IPV6]:PORT, such as unix:/run/openvswitch/db.sock"
        )


def _host_and_port(rest: str) -> tuple[str, str]:
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        return host, port.removeprefix(":") or str(_DEFAULT_PORT)
    if rest.count(":") > 1:
        return "", ""  # IPv6 without brackets: where would the port begin?
    host, _, port = rest.partition(":")
    return host, port or str(_DEFAULT_PORT)


class Connection:
    """Requests with their replies, notifications, and echo in both directions.

    A server that hangs is noticed: after ``probe_s`` of silence it is sent an echo, and after
    as much silence again the connection counts as lost.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        on_notification: Callable[[str, Sequence[Any]], None],
        probe_s: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_notification = on_notification
        self._probe_s = probe_s
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._lost: ConnectionLostError | None = None

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        on_notification: Callable[[str, Sequence[Any]], None],
        probe_s: float,
    ) -> Self:
        """Connect.

        Raises:
            ConnectionLostError: nobody listens there, or it may not be reached.
        """
        try:
            async with asyncio.timeout(probe_s):
                if address.path:
                    streams = await asyncio.open_unix_connection(address.path, limit=_CHUNK)
                else:
                    streams = await asyncio.open_connection(
                        address.host, address.port, limit=_CHUNK
                    )
        except TimeoutError as error:
            raise ConnectionLostError(f"no connection within {probe_s:g} s") from error
        except OSError as error:
            raise ConnectionLostError(error.strerror or str(error)) from error
        return cls(*streams, on_notification=on_notification, probe_s=probe_s)

    @property
    def lost(self) -> bool:
        """Whether nothing can be asked on it any more."""
        return self._lost is not None

    async def request(self, method: str, params: Sequence[Any]) -> Any:
        """Send a request and return its result; the probe bounds the wait.

        Raises:
            RefusedError: the server answered with an error.
            ConnectionLostError: there was no answer.
        """
        if self._lost is not None:
            raise self._lost
        message = Message.create_request(method, list(params))
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._replies[message.id] = reply
        self._send(message)
        try:
            return await reply
        finally:
            self._replies.pop(message.id, None)

    async def serve(self) -> NoReturn:
        """Read until the connection is lost, and then fail what still waits for a reply.

        Raises:
            ConnectionLostError: always, with the reason.
        """
        try:
            await self._read()
        except (OSError, ValueError) as error:
            self._lost = ConnectionLostError(str(error))
            raise self._lost from error
        except ConnectionLostError as error:
            self._lost = error
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Close at once; whoever waits for a reply gets ConnectionLostError."""
        self._writer.transport.abort()
        self._lost = self._lost or ConnectionLostError("closed on our side")
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(self._lost)

    async def closed(self) -> None:
        """Wait until the socket is closed, so that nothing of it outlives its owner."""
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _read(self) -> NoReturn:
        splitter = Splitter()
        probed = False
        while True:
            try:
                async with asyncio.timeout(self._probe_s):
                    data = await self._reader.read(_CHUNK)
            except TimeoutError:
                if probed:
                    raise ConnectionLostError(
                        f"no answer within {2 * self._probe_s:g} s; the server hangs"
                    ) from None
                probed = True
                self._send(Message(Message.T_REQUEST, "echo", [], None, None, "probe"))
                continue
            if not data:
                raise ConnectionLostError("the server closed the connection")
            probed = False
            if splitter.empty:
                messages, data = whole(data)
                for message in messages:
                    self._take(message)
            for text in splitter.feed(data):
                self._take(await decode(text))

    def _take(self, json: Mapping[str, Any]) -> None:
        message = Message.from_json(json)
        if isinstance(message, str):
            raise ConnectionLostError(f"the server does not speak JSON-RPC: {message}")
        if message.type == Message.T_REQUEST and message.method == "echo":
            self._send(Message.create_reply(message.params, message.id))
        elif message.type == Message.T_NOTIFY:
            self._on_notification(message.method, message.params)
        elif message.type in (Message.T_REPLY, Message.T_ERROR):
            reply = self._replies.get(message.id)
            if reply is None or reply.done():
                return
            if message.type == Message.T_REPLY:
                reply.set_result(message.result)
            else:
                reply.set_exception(_refusal(message.error))

    def _send(self, message: Message) -> None:
        self._writer.write(_ENCODER.encode(message.to_json()).encode())


def _refusal(error: Any) -> RefusedError:
    if isinstance(error, Mapping):
        return RefusedError(str(error.get("error", "error")), str(error.get("details", "")))
    return RefusedError(str(error))
