"""One JSON-RPC connection to ovsdb-server, on the loop."""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Self

from ovs.jsonrpc import Message

from ovsdriver.adapters.ovsdb.errors import ConnectionLostError, RefusedError
from ovsdriver.adapters.ovsdb.wire.address import Address, Certificates
from ovsdriver.adapters.ovsdb.wire.framing import Splitter, decode, whole

log = logging.getLogger(__name__)

_ENCODER = json.JSONEncoder(separators=(",", ":"))
_CHUNK = 256 * 1024


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
        certificates: Certificates | None = None,
    ) -> None:
        self._certificates = certificates
        self._reader = reader
        self._writer = writer
        self._on_notification = on_notification
        self.probe_s = probe_s
        """May be changed; what is being waited for keeps the old one."""
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._lost: ConnectionLostError | None = None

    @classmethod
    async def open(
        cls,
        address: Address,
        *,
        on_notification: Callable[[str, Sequence[Any]], None],
        probe_s: float,
        certificates: Certificates | None = None,
    ) -> Self:
        """Connect; ``certificates`` are for an address that is ``ssl:``.

        Raises:
            ConnectionLostError: nobody listens there, it may not be reached, or one side does
                not take the other's certificate.
        """
        tls = certificates if address.encrypted else None
        try:
            async with asyncio.timeout(probe_s):
                if address.path:
                    streams = await asyncio.open_unix_connection(address.path, limit=_CHUNK)
                else:
                    streams = await asyncio.open_connection(
                        address.host, address.port, limit=_CHUNK, ssl=tls.context() if tls else None
                    )
        except TimeoutError as error:
            raise ConnectionLostError(f"no connection within {probe_s:g} s") from error
        except (OSError, UnicodeError) as error:  # of a host's name that no resolver is asked
            raise _lost(error, tls) from error
        return cls(*streams, on_notification=on_notification, probe_s=probe_s, certificates=tls)

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
            self._lost = self._lost or _lost(error, self._certificates)
            raise self._lost from error
        except ConnectionLostError as error:
            self._lost = self._lost or error
            raise self._lost from None
        finally:
            self.close()

    def close(self, why: str = "closed on our side") -> None:
        """Close at once; whoever waits for a reply gets ConnectionLostError."""
        self._writer.transport.abort()
        self._lost = self._lost or ConnectionLostError(why)
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
                async with asyncio.timeout(self.probe_s):
                    data = await self._reader.read(_CHUNK)
            except TimeoutError:
                if probed:
                    raise ConnectionLostError(
                        f"no answer within {2 * self.probe_s:g} s; the server hangs"
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
                del text  # of a large copy, it would stay until the server says something else

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


def _lost(error: OSError | ValueError, tls: Certificates | None) -> ConnectionLostError:
    if tls is not None and isinstance(error, ssl.SSLError):
        return tls.refusal(error)
    return ConnectionLostError(getattr(error, "strerror", None) or str(error))


def _refusal(error: Any) -> RefusedError:
    if isinstance(error, Mapping):
        return RefusedError(str(error.get("error", "error")), str(error.get("details", "")))
    return RefusedError(str(error))
