"""The sole owner of the connection to ovsdb-server: connects, watches, commits, and again."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from ovsdriver.adapters.ovsdb.commit import GroupCommit, Plan
from ovsdriver.adapters.ovsdb.errors import ConnectionLostError, OvsdbError, RefusedError
from ovsdriver.adapters.ovsdb.tables.replica import Replica, RowChange
from ovsdriver.adapters.ovsdb.tables.schema import Operation, Schema
from ovsdriver.adapters.ovsdb.wire.address import Address, Servers
from ovsdriver.adapters.ovsdb.wire.cluster import GONE, Leadership, Turns
from ovsdriver.adapters.ovsdb.wire.connection import Connection
from ovsdriver.adapters.ovsdb.wire.stopped import Doorbell

log = logging.getLogger(__name__)

_MONITOR = "ovsnet"
_NO_TRANSACTION = "00000000-0000-0000-0000-000000000000"
_LOADING_S = 5.0
"""At least, for the server to begin with its copy: others may have asked for theirs at once."""

Watcher = Callable[[Sequence[RowChange] | None], None]
"""Called on the loop with the changes of each notification; None: all may be different.

None comes after each (re)connect, and when the connection is lost. Before a reconnect that goes on
with the same replica, what is new in it comes like any other changes.
"""


class _Session:
    """One connection and the replica that it feeds."""

    def __init__(self, database: str, connection: Connection, replica: Replica) -> None:
        self._database = database
        self._connection = connection
        self.replica = replica

    @property
    def lost(self) -> bool:
        return self._connection.lost

    async def transact(self, operations: Sequence[Operation]) -> Sequence[Any]:
        try:
            results = await self._connection.request("transact", [self._database, *operations])
        except RefusedError as error:
            if error.tag in GONE:
                raise self._gone(error.tag) from error
            raise
        if not isinstance(results, list):
            raise RefusedError("bad reply", "to transact")
        gone = [each["error"] for each in results if each and each.get("error") in GONE]
        if gone:
            raise self._gone(gone[0])
        return results

    def _gone(self, why: str) -> ConnectionLostError:
        self._connection.close(why)
        return ConnectionLostError(why)


class OvsdbClient:
    """A copy of the watched tables, and changes to them, whatever happens to the server.

    Everything happens on the loop that runs :meth:`run`, which must run for anything to happen.
    """

    def __init__(
        self,
        servers: str | Servers,
        watched: Mapping[str, Sequence[str]],
        *,
        on_change: Watcher,
        database: str = "Open_vSwitch",
        probe_s: float = 5.0,
        timed: Callable[[float], object] = lambda _: None,
    ) -> None:
        """Prepare; nothing is connected yet.

        Args:
            servers: the address of one, ``unix:PATH`` or ``tcp:HOST:PORT`` (ConfigurationError if
                it is neither), or all that there are.
            watched: columns by table; those that this version of the database lacks are left out.
            on_change: told of every change.
            database: its name in ovsdb-server.
            probe_s: seconds of silence after which the server is probed, and after as many
                again given up; also the limit for making a connection.
            timed: told the seconds that each answered transaction took.
        """
        self._servers = Servers.parse([servers]) if isinstance(servers, str) else servers
        self._turns = Turns(self._servers.addresses)
        path = self._turns.now.path if len(self._servers.addresses) == 1 else ""
        self._doorbell = Doorbell(path) if path else None
        self._watched = watched
        self._on_change = on_change
        self._database = database
        self._probe_s = probe_s
        self._schema: Schema | None = None
        self._kept: tuple[Replica, str] | None = None
        self._session: _Session | None = None
        self._ready = asyncio.Event()
        self._commits = GroupCommit(self._live_session, timed)
        self.last_error = self._turns.why
        """Why there is no connection, for messages; of several servers each with its own."""
        self.connections = 0
        """Connections that got as far as a complete replica."""

    @property
    def replica(self) -> Replica | None:
        """The copy; None while not connected."""
        return self._session.replica if self._session else None

    @property
    def server(self) -> str:
        """The address of the server that has us; of the one that is tried next, if none has."""
        return self._turns.now.text

    @property
    def transactions(self) -> int:
        """Transactions sent since the start."""
        return self._commits.transactions

    @property
    def commits(self) -> int:
        """Plans committed since the start; above ``transactions`` where they were shared."""
        return self._commits.commits

    async def run(self) -> None:
        """Stay connected and commit what is submitted, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._stay_connected())
            tasks.create_task(self._commits.run())

    async def connected(self) -> None:
        """Wait until the replica is complete; the caller bounds it."""
        await self._ready.wait()

    def submit(self, plan: Plan, *, subject: str) -> asyncio.Future[bool]:
        """Queue ``plan`` for the next transaction; plans about one ``subject`` keep their order.

        The future says whether there was anything to change. It stays open while there is no
        connection, and a plan whose connection broke is asked again on the next; so the caller
        bounds the wait. Cancelling it withdraws a plan that is not on its way. It fails with
        RefusedError, with ConnectionLostError after :meth:`run` ended, or as the plan raised.
        """
        return self._commits.submit(plan, subject)

    async def _live_session(self) -> _Session:
        while (session := self._session) is None or session.lost:
            # a connection that broke stands here until its reader has noticed, too
            self._ready.clear()
            await self._ready.wait()
        return session

    async def _stay_connected(self) -> None:
        while True:
            before = self.connections
            address = self._turns.now
            try:
                await self._connect_and_serve(address)
            except OvsdbError as error:
                reason = str(error)
            served = self.connections > before
            pause_s = self._turns.pass_on(reason, served=served)
            if self._turns.why != self.last_error or served:
                log.warning("ovsdb.disconnected", extra={"address": address.text, "why": reason})
            self.last_error = self._turns.why
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _connect_and_serve(self, address: Address) -> NoReturn:
        """Connect, fill the replica, and return only by raising."""
        if self._doorbell is not None and self._doorbell.would_wake:
            raise ConnectionLostError("it was stopped")
        leadership = Leadership(self._database) if self._servers.clustered else None
        feed = _Feed(self._on_change, leadership)
        connection = await Connection.open(
            address,
            on_notification=feed.take,
            probe_s=self._probe_s,
            certificates=self._servers.certificates,
        )
        serving = asyncio.create_task(connection.serve())
        try:
            if leadership is not None:
                with _fits_schema():
                    await leadership.ask(connection)
            connection.probe_s = max(self._probe_s, _LOADING_S)
            replica = await self._load(connection, feed)
            connection.probe_s = self._probe_s
            self._session = _Session(self._database, connection, replica)
            self.connections += 1
            if self._doorbell is not None:
                self._doorbell.note_answer()
            self._ready.set()
            log.info("ovsdb.connected", extra={"address": address.text})
            self._on_change(None)
            await serving
        finally:
            self._ready.clear()
            session, self._session = self._session, None
            if session is not None and feed.last:
                self._kept = session.replica, feed.last
            connection.close()
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError, OvsdbError):
                await serving
            await connection.closed()
            if session is not None:
                self._on_change(None)

    async def _load(self, connection: Connection, feed: "_Feed") -> Replica:
        json = await connection.request("get_schema", [self._database])
        if self._schema is None or self._schema.json != json:
            self._schema = Schema(json)
            self._kept = None
        if self._servers.clustered:
            return await self._go_on(connection, feed, self._schema)
        replica = Replica(self._schema, self._watched)
        params = [self._database, _MONITOR, replica.requests()]
        try:
            initial = await connection.request("monitor_cond", params)
        except RefusedError:
            # Open vSwitch before 2.6, and servers that know RFC 7047 only
            initial = await connection.request("monitor", params)
        with _fits_schema():
            await replica.load(initial)
        feed.begin(replica)
        return replica

    async def _go_on(self, connection: Connection, feed: "_Feed", schema: Schema) -> Replica:
        """Go on with the copy that an earlier connection left, or begin afresh.

        All members of a cluster know the latest transactions by the same names: after a leader's
        end, its successor tells what is new, and not all that there is to all clients at once.
        """
        replica, since = self._kept or (Replica(schema, self._watched), _NO_TRANSACTION)
        params = [self._database, _MONITOR, replica.requests(), since]
        found, last, updates = await connection.request("monitor_cond_since", params)
        self._kept = None  # until the end of this connection: what does not fit spoils it
        if found:
            with _fits_schema():
                changes = replica.apply(updates)
            self._on_change([*changes, *feed.begin(replica, last)])
            return replica
        if since != _NO_TRANSACTION:
            replica = Replica(schema, self._watched)
        with _fits_schema():
            await replica.load(updates)
        feed.begin(replica, last)
        return replica


class _Feed:
    """Hands notifications to the replica; those that overtake its first filling wait for it."""

    def __init__(self, on_change: Watcher, leadership: Leadership | None) -> None:
        self.last = ""
        """The latest transaction that the replica has, where the server names them."""
        self._replica: Replica | None = None
        self._leadership = leadership
        self._on_change = on_change
        self._early: list[tuple[str, Sequence[Any]]] = []

    def begin(self, replica: Replica, last: str = "") -> Sequence[RowChange]:
        """Hand what comes to ``replica``; return the changes of what came already."""
        self._replica, self.last = replica, last
        early, self._early = self._early, []
        return [change for each in early for change in self._apply(replica, *each)]

    def take(self, method: str, params: Sequence[Any]) -> None:
        if method not in ("update", "update2", "update3"):
            return
        if self._leadership is not None and params[:1] == [Leadership.MONITOR]:
            with _fits_schema():
                self._leadership.take(params[1])
        elif self._replica is None:
            self._early.append((method, params))
        else:
            self._on_change(self._apply(self._replica, method, params))

    def _apply(self, replica: Replica, method: str, params: Sequence[Any]) -> Sequence[RowChange]:
        last, self.last = self.last, ""  # what does not fit spoils the replica
        with _fits_schema():
            if method == "update3":
                _, last, updates = params
            else:
                updates = params[1]
            changes = replica.apply(updates)
        self.last = last
        return changes


@contextlib.contextmanager
def _fits_schema() -> Iterator[None]:
    """Turn what reading nonsense raises into a lost connection: the next one starts afresh."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ConnectionLostError(f"the server sent rows that do not fit: {error!r}") from error
