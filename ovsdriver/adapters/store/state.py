"""Networks, endpoints and notes: rows in SQLite, and a copy in memory for reading.

The copy changes when the commit is on the disk and never before, so no reader sees what a power
cut could take back. It changes in the order of the commits, and before the call that wrote
returns, also when the caller of that call was cancelled meanwhile.
"""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from netaddr import IPAddress

from ipam import PoolId
from ovsdriver.adapters.store import records
from ovsdriver.adapters.store.database import Database
from ovsdriver.adapters.store.events import Row, SqliteEvents, keep
from ovsdriver.adapters.store.record_indexes import Records
from ovsdriver.codec import UnreadableError
from ovsdriver.domain.events import turns
from ovsdriver.domain.events.event import Happening
from ovsdriver.domain.records.model import Endpoint, EndpointId, Network, NetworkId
from ovsdriver.domain.records.options import changed_options
from ovsdriver.domain.wires.sandbox_link import SandboxLink
from ovsdriver.errors import ConflictError, UnavailableError, UnknownObjectError

T = TypeVar("T")

_READ_AT_ONCE = 100
"""Records between two turns of the loop, 5 ms."""


class SqliteState:
    """The ports ``State``, ``SandboxMemory`` and ``HostNotes``."""

    def __init__(self, database: Database, events: SqliteEvents | None) -> None:
        """Use :meth:`load`."""
        self._database = database
        self._events = events
        self._records = Records()
        self._notes: dict[str, str] = {}

    @classmethod
    async def load(cls, database: Database, events: SqliteEvents | None = None) -> "SqliteState":
        """Read everything into memory.

        Args:
            database: the store's file.
            events: takes what changed records say, with the commit that changes them; None: nobody
                is told.

        Raises:
            UnavailableError: the file cannot be read, or a row in it has no meaning for us. Then
                nothing can be given out safely: that row may hold a VLAN.
        """
        state = cls(database, events)
        networks, endpoints, sandbox_links, notes = await database.read(_everything)
        for key, text in networks:
            state._records.put_network(_decoded(Network, "network", key, text))
        for number, (key, text) in enumerate(endpoints, 1):
            state._records.put_endpoint(_decoded(Endpoint, "endpoint", key, text))
            if number % _READ_AT_ONCE == 0:
                await asyncio.sleep(0)  # the loop has others to serve
        for key, text in sandbox_links:
            # What cannot be read is looked at again: nothing is given out by it.
            with suppress(UnreadableError):
                link = records.decode(SandboxLink, text)
                state._records.put_sandbox_link(EndpointId(key), link)
        state._notes.update(notes)
        return state

    def networks(self) -> Sequence[Network]:
        return tuple(self._records.networks.values())

    def network(self, network: NetworkId) -> Network | None:
        return self._records.networks.get(network)

    def network_of_pool(self, pool: PoolId) -> Network | None:
        return self._records.network_of_pool(pool)

    def endpoints(self, network: NetworkId | None = None) -> Sequence[Endpoint]:
        return self._records.endpoints_of(network)

    def endpoint(self, endpoint: EndpointId) -> Endpoint | None:
        return self._records.endpoints.get(endpoint)

    def endpoints_in(self, sandbox: str) -> Sequence[Endpoint]:
        return self._records.endpoints_in(sandbox)

    def endpoint_at(self, network: NetworkId, address: IPAddress) -> Endpoint | None:
        return self._records.endpoint_at(network, address)

    async def put_network(self, network: Network) -> None:
        await self.put_networks((network,))

    async def put_networks(self, networks: Sequence[Network]) -> None:
        rows = [(network, records.encode(network)) for network in networks]
        told = self._told([turns.of_network(self.network(each.id), each) for each in networks])

        def unit(connection: sqlite3.Connection) -> None:
            for network, record in rows:
                _write_segment(connection, network, record)
                _write_pools(connection, network)
            keep(connection, told)

        def remember(_: None) -> None:
            for network, _record in rows:
                self._records.put_network(network)
            self._show(told)

        await self._database.write(unit, remember)

    async def forget_network(self, network: NetworkId) -> bool:
        changed = changed_options.of_network(network)
        known = self.network(network)
        told = self._told(
            turns.of_forgotten_network(known, self.endpoints(network)) if known is not None else ()
        )

        def unit(connection: sqlite3.Connection) -> bool:
            keep(connection, told)
            connection.execute(
                "DELETE FROM note WHERE substr(key, 1, ?) = ?", (len(changed), changed)
            )
            # Its pools and endpoints go by ON DELETE CASCADE.
            return connection.execute("DELETE FROM network WHERE id = ?", (network,)).rowcount > 0

        def forget(_: bool) -> None:
            for key in [each for each in self._notes if each.startswith(changed)]:
                del self._notes[key]
            self._records.forget_network(network)
            self._show(told)

        return await self._database.write(unit, forget)

    async def put_endpoint(self, endpoint: Endpoint) -> None:
        row = (endpoint.id, endpoint.network, records.encode(endpoint))
        told = self._told((turns.of_endpoint(self.endpoint(endpoint.id), endpoint),))

        def unit(connection: sqlite3.Connection) -> None:
            try:
                connection.execute(
                    "INSERT INTO endpoint (id, network, record) VALUES (?, ?, ?) "
                    "ON CONFLICT (id) DO UPDATE "
                    "SET network = excluded.network, record = excluded.record",
                    row,
                )
            except sqlite3.IntegrityError as error:
                raise UnknownObjectError(
                    f"ovsnet does not know network {endpoint.network[:12]} (any more), so it gets "
                    "no endpoint; `ovsnet network ls` lists its networks"
                ) from error
            keep(connection, told)

        def remember(_: None) -> None:
            self._records.put_endpoint(endpoint)
            self._show(told)

        await self._database.write(unit, remember)

    async def forget_endpoint(self, endpoint: EndpointId) -> bool:
        return await self._database.write(
            partial(_delete_endpoint, endpoint), lambda _: self._records.forget_endpoint(endpoint)
        )

    def drop_endpoint(self, endpoint: EndpointId) -> None:
        self._records.forget_endpoint(endpoint)
        self._database.write_later(partial(_delete_endpoint, endpoint))

    def sandbox_link(self, endpoint: EndpointId) -> SandboxLink | None:
        return self._records.sandbox_links.get(endpoint)

    async def put_sandbox_link(self, endpoint: EndpointId, link: SandboxLink) -> None:
        record = records.encode(link)

        def unit(connection: sqlite3.Connection) -> bool:
            found = connection.execute(
                "INSERT INTO sandbox_link (endpoint, record) "
                "SELECT id, ? FROM endpoint WHERE id = ? "
                "ON CONFLICT (endpoint) DO UPDATE SET record = excluded.record",
                (record, endpoint),
            )
            return found.rowcount > 0

        def remember(known: bool) -> None:
            if known:
                self._records.put_sandbox_link(endpoint, link)

        await self._database.write(unit, remember)

    def notes(self) -> Mapping[str, str]:
        return MappingProxyType(dict(self._notes))

    async def put_note(self, key: str, value: str) -> None:
        def unit(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO note (key, value) VALUES (?, ?) "
                "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

        await self._database.write(unit, lambda _: self._notes.update({key: value}))

    async def forget_note(self, key: str) -> bool:
        def unit(connection: sqlite3.Connection) -> bool:
            return connection.execute("DELETE FROM note WHERE key = ?", (key,)).rowcount > 0

        return await self._database.write(unit, lambda _: self._notes.pop(key, None))

    def _told(self, happenings: Sequence[Happening | None]) -> Sequence[Row]:
        if self._events is None:
            return ()
        return [self._events.row(each) for each in happenings if each is not None]

    def _show(self, told: Sequence[Row]) -> None:
        if self._events is not None and told:
            self._events.show(told)


def _delete_endpoint(endpoint: EndpointId, connection: sqlite3.Connection) -> bool:
    return connection.execute("DELETE FROM endpoint WHERE id = ?", (endpoint,)).rowcount > 0


def _everything(
    connection: sqlite3.Connection,
) -> Sequence[list[tuple[str, str]]]:
    return [
        connection.execute(question).fetchall()
        for question in (
            "SELECT id, record FROM network",
            "SELECT id, record FROM endpoint",
            "SELECT endpoint, record FROM sandbox_link",
            "SELECT key, value FROM note",
        )
    ]


def _decoded(kind: type[T], word: str, key: str, text: str) -> T:
    try:
        return records.decode(kind, text)
    except UnreadableError as error:
        raise UnavailableError(
            f"the store's record of {word} {key[:12]} cannot be read ({error}); it was kept. "
            "Install the ovsnet that wrote it, or restore the store from a backup"
        ) from error


def _write_segment(connection: sqlite3.Connection, network: Network, record: str) -> None:
    segment = network.segment
    row = (*segment.place, network.shared, record, network.id)
    try:
        # Not an upsert: the trigger that looks at the segment would fire for a known network too.
        changed = connection.execute(
            "UPDATE network SET bridge = ?, tag = ?, shared = ?, record = ? WHERE id = ?", row
        ).rowcount
        if not changed:
            connection.execute(
                "INSERT INTO network (bridge, tag, shared, record, id) VALUES (?, ?, ?, ?, ?)", row
            )
    except sqlite3.IntegrityError as error:
        other = connection.execute(
            "SELECT id FROM network WHERE bridge = ? AND tag = ? AND id <> ? ORDER BY shared",
            (*segment.place, network.id),
        ).fetchone()
        if other is None:
            raise
        raise ConflictError(
            f"{segment.name} on bridge {segment.bridge} belongs to network {other[0][:12]}; choose "
            "another (-o ovs.vlan=…), or share it (-o ovs.shared=true)"
        ) from error


def _write_pools(connection: sqlite3.Connection, network: Network) -> None:
    connection.execute("DELETE FROM network_pool WHERE network = ?", (network.id,))
    for subnet in network.subnets:
        if subnet.pool is None:
            continue
        try:
            connection.execute(
                "INSERT INTO network_pool (pool, network) VALUES (?, ?)", (subnet.pool, network.id)
            )
        except sqlite3.IntegrityError as error:
            other = connection.execute(
                "SELECT network FROM network_pool WHERE pool = ?", (subnet.pool,)
            ).fetchone()
            if other is None:
                raise
            raise ConflictError(
                f"the addresses of {subnet.cidr} belong to network {other[0][:12]}; remove that "
                "first (docker network rm), or give this one another --subnet or another space "
                "(--ipam-opt ipam.space=NAME with -o ovs.space=NAME)"
            ) from error
