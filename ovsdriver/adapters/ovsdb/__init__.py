"""The Open vSwitch database protocol (RFC 7047) on asyncio; python-ovs below its ``Idl``.

Knows no bridges and no switches: tables, rows, plans. From the wire up: ``wire``, ``tables``,
``commit``, ``client``. An adapter begins as ``adapter``; ``wire/question`` is for who asks once.
"""

from ovsdriver.adapters.ovsdb.adapter import OvsdbAdapter
from ovsdriver.adapters.ovsdb.client import OvsdbClient
from ovsdriver.adapters.ovsdb.commit import Plan
from ovsdriver.adapters.ovsdb.errors import ConnectionLostError, OvsdbError, RefusedError
from ovsdriver.adapters.ovsdb.tables.replica import Replica, Row, RowChange
from ovsdriver.adapters.ovsdb.tables.schema import Operation, Schema
from ovsdriver.adapters.ovsdb.wire.address import Address, Certificates, Servers

__all__ = [
    "Address",
    "Certificates",
    "ConnectionLostError",
    "Operation",
    "OvsdbAdapter",
    "OvsdbClient",
    "OvsdbError",
    "Plan",
    "RefusedError",
    "Replica",
    "Row",
    "RowChange",
    "Schema",
    "Servers",
]
