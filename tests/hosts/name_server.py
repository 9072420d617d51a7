"""A name server of the outside: run inside of a host, whose own it is.

It knows ``example.test``, and of ``big.test`` more than fits into a datagram. Writes what it was
asked, line by line.
"""

import asyncio
import sys

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

ADDRESS = "203.0.113.80"
MANY = [f"198.51.100.{number}" for number in range(1, 120)]
_KNOWN = {"example.test.": [ADDRESS], "big.test.": MANY}


def answer(wire: bytes, *, most: int = 65535) -> bytes:
    query = dns.message.from_wire(wire)
    question = query.question[0]
    name = question.name.to_text().lower()
    print(name, flush=True)  # noqa: T201
    reply = dns.message.make_response(query, recursion_available=True)
    found = _KNOWN.get(name)
    if found is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
    elif question.rdtype == 1:
        reply.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", "A", found))
    made = reply.to_wire()
    if len(made) > most:
        reply.answer.clear()
        reply.flags |= dns.flags.TC
        made = reply.to_wire()
    return made


class Datagrams(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(answer(data, most=512), addr)


async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    length = int.from_bytes(await reader.readexactly(2), "big")
    made = answer(await reader.readexactly(length))
    writer.write(len(made).to_bytes(2, "big") + made)
    await writer.drain()
    writer.close()


async def main(address: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    await loop.create_datagram_endpoint(Datagrams, local_addr=(address, port))
    server = await asyncio.start_server(converse, address, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
