"""A name server of the outside for tests: started where it is to be asked.

``python upstream.py ADDRESS PORT [FILE]``. The file says what it knows, a record a line, as zone
files do: ``api.test. 60 IN A 198.51.100.7``; it is read for each question. Without one it knows
``BUILT_IN``. It writes ``listening``, and every question's name. A line ``; forge`` in the
file makes it send a false answer with a wrong id before each true one.
"""

import asyncio
import sys
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

BUILT_IN = "\n".join(
    [
        "api.test. 86400 IN A 198.51.100.7",
        "api.test. 86400 IN A 198.51.100.8",
        "secret.test. 60 IN A 198.51.100.9",
        *(f"far.test. 60 IN A 198.51.100.{each}" for each in range(1, 120)),
    ]
)
_MOST_ALIASES = 10
FORGED = "203.0.113.66"


class Zone:
    """What the server knows."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def text(self) -> str:
        return self._path.read_text() if self._path is not None else BUILT_IN

    @property
    def forges(self) -> bool:
        return "; forge" in self.text()

    def rows(self) -> list[list[str]]:
        lines = self.text().splitlines()
        return [line.split(maxsplit=4) for line in lines if line and not line.startswith(";")]


def answer(zone: Zone, wire: bytes, *, most: int) -> bytes:
    query = dns.message.from_wire(wire)
    question = query.question[0]
    print(question.name.to_text(omit_final_dot=True).lower(), flush=True)  # noqa: T201
    reply = dns.message.make_response(query, recursion_available=True)
    rows, name = zone.rows(), question.name.to_text().lower()
    wanted = dns.rdatatype.to_text(question.rdtype)
    known = any(row[0] == name for row in rows)
    for _ in range(_MOST_ALIASES):
        alias = ""
        for owner, seconds, _, kind, value in rows:
            if owner == name and kind in (wanted, "CNAME"):
                rrset = dns.rrset.from_text(owner, int(seconds), "IN", kind, value)
                found = reply.find_rrset(
                    reply.answer, rrset.name, rrset.rdclass, rrset.rdtype, create=True
                )
                found.update(rrset)
                alias = value if kind == "CNAME" else alias
        if not alias:
            break
        name = alias
    if not known:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    made = reply.to_wire()
    if len(made) > most:
        reply.answer.clear()
        reply.flags |= dns.flags.TC
        made = reply.to_wire()
    return made


def forged(wire: bytes) -> bytes:
    """Return what somebody says who did not see the question's id."""
    query = dns.message.from_wire(wire)
    reply = dns.message.make_response(query, recursion_available=True)
    reply.id ^= 1
    reply.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", FORGED))
    return reply.to_wire()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._zone.forges:
            self._transport.sendto(forged(data), addr)
        self._transport.sendto(answer(self._zone, data, most=512), addr)


async def main(address: str, port: int, path: Path | None) -> None:
    zone = Zone(path)

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(2), "big")
        made = answer(zone, await reader.readexactly(length), most=65535)
        writer.write(len(made).to_bytes(2, "big") + made)
        await writer.drain()
        writer.close()

    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(lambda: Datagrams(zone), local_addr=(address, port))
    server = await asyncio.start_server(converse, address, port)
    print("listening", flush=True)  # noqa: T201
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(
        main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
    )
