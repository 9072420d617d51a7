"""Rows of hosts that are not there: their pools, and their containers with names.

    python -m tests.bench.segments.simulated ADDRESS KEY CERTIFICATE CA HOSTS SEGMENTS PORTS
    python -m tests.bench.segments.simulated ADDRESS KEY CERTIFICATE CA

The first writes them to the server that leads, PORTS on each of the segments ``sim0`` and so on;
the second removes what the first wrote.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from netaddr import EUI, IPNetwork

from ipam import LeaseKind, PoolId
from ovsdriver.adapters.ovn import rows
from ovsdriver.adapters.ovsdb import Address, Operation
from ovsdriver.adapters.ovsdb.tables.writing import to_map
from ovsdriver.adapters.ovsdb.wire.address import Certificates
from ovsdriver.adapters.ovsdb.wire.question import transact
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.ports.northbound import SegmentPool, SharedLease, SharedName

_AT_ONCE = 100
"""Things that a transaction makes."""
_POOLS = 20
"""Hosts that have a pool of a segment."""


def subnet(segment: int) -> IPNetwork:
    """Return the subnet of a simulated segment."""
    return IPNetwork(f"10.{100 + segment}.0.0/16")


def made(hosts: int, segments: int, ports: int) -> Iterator[Sequence[Operation]]:
    """Give the operations that make each of them."""
    for number in range(segments):
        segment = f"sim{number}"
        among = [(number * _POOLS + each) % hosts for each in range(min(_POOLS, hosts))]
        pools = [
            SegmentPool(id=PoolId(f"segment:{segment}/4/{each:012x}"), host=f"sim-host{each}")
            for each in among
        ]
        keys = to_map({rows.pool_key(each.id): each.host for each in pools})
        held = {
            "op": "mutate",
            "table": rows.SWITCH,
            "where": rows.at(rows.switch_uuid(segment)),
            "mutations": [["external_ids", "insert", keys]],
        }
        yield [*rows.new_segment(segment, subnet(number), pools[0]), held]
        for place in range(ports):
            yield _container(number, segment, pools[place % len(pools)], place)


def _container(number: int, segment: str, pool: SegmentPool, place: int) -> Sequence[Operation]:
    address = subnet(number)[2 + place]
    lease = SharedLease(
        segment=segment,
        address=address,
        kind=LeaseKind.ENDPOINT,
        host=pool.host,
        pool=pool.id,
        serial=2**62 + number * 2**20 + place,
        created=1.0,
        mac=EUI(0x0A58_0000_0000 + int(address), version=48),
    )
    name = SharedName(
        segment=segment,
        endpoint=EndpointId(f"{number:032x}{place:032x}"),
        host=pool.host,
        names=(f"web-{number}-{place}",),
        addresses=(address,),
    )
    return [*rows.new_lease(lease), *rows.put_name(name, None)]


def removed() -> Sequence[Operation]:
    """Return the operations that remove all of them."""
    return [
        {
            "op": "delete",
            "table": rows.SWITCH,
            "where": [["_uuid", "==", ["uuid", rows.switch_uuid(f"sim{number}")]]],
        }
        for number in range(100)
    ] + [
        {
            "op": "delete",
            "table": rows.NAME,
            "where": [["external_ids", "includes", ["map", [[rows.SEGMENT, f"sim{number}"]]]]],
        }
        for number in range(100)
    ]


async def main(address: str, key: str, certificate: str, ca: str, *sizes: str) -> None:
    things = made(*map(int, sizes)) if sizes else iter([removed()])
    while some := list(chain.from_iterable(islice(things, _AT_ONCE))):
        answers = await transact(
            Address.parse(address),
            "OVN_Northbound",
            some,
            certificates=Certificates(
                private_key=Path(key), certificate=Path(certificate), ca=Path(ca)
            ),
            timeout_s=120,
        )
        if refused := [each for each in answers if each and "error" in each]:
            raise SystemExit(str(refused[0]))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
