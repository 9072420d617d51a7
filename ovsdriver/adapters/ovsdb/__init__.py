"""The Open vSwitch database protocol (RFC 7047) on asyncio; python-ovs below its ``Idl``.

Knows no bridges and no switches: tables, rows, plans. The files, from the wire up: ``framing``,
``address``, ``connection``, ``cluster``, ``schema``, ``writing``, ``replica``, ``commit``,
``client``; ``question`` is for who asks once.
"""

from ovsdriver.adapters.ovsdb.address import Address, Certificates, Servers
from ovsdriver.adapters.ovsdb.client import OvsdbClient
from ovsdriver.adapters.ovsdb.commit import Plan
from ovsdriver.adapters.ovsdb.errors import ConnectionLostError, OvsdbError, RefusedError
from ovsdriver.adapters.ovsdb.replica import Replica, Row, RowChange
from ovsdriver.adapters.ovsdb.schema import Operation, Schema

__all__ = [
    "Address",
    "Certificates",
    "ConnectionLostError",
    "Operation",
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
