"""DNS messages: what is asked, and answers of our own. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from netaddr import IPAddress

_TTL_S = 5
"""Of our answers. OVN, which answers most questions before they get here, says an hour."""

_KINDS = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}
ID_BYTES = 2
_QUESTION_AT = 12


@dataclass(frozen=True, slots=True)
class Query:
    """A question of a client."""

    message: dns.message.Message
    wire: bytes

    @property
    def name(self) -> str:
        """What is asked for, in lower case, without the last dot."""
        return self.message.question[0].name.to_text(omit_final_dot=True).lower()

    def answer(self, addresses: Iterable[IPAddress]) -> bytes:
        """Return an answer with those addresses that are asked for; with none: there is no such."""
        question = self.message.question[0]
        reply = dns.message.make_response(self.message, recursion_available=True)
        found = list(addresses)
        for kind, family in _KINDS.items():
            texts = [str(each) for each in found if each.version == family]
            if texts and question.rdtype in (kind, dns.rdatatype.ANY):
                reply.answer.append(
                    dns.rrset.from_text_list(question.name, _TTL_S, dns.rdataclass.IN, kind, texts)
                )
        return reply.to_wire()

    def failure(self) -> bytes:
        """Return the answer that nobody could be asked."""
        reply = dns.message.make_response(self.message, recursion_available=True)
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply.to_wire()


def read(wire: bytes) -> Query | None:
    """Return the question of a message; None of what is none."""
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    if message.flags & dns.flags.QR or message.opcode() != dns.opcode.QUERY:
        return None
    if len(message.question) != 1 or message.question[0].rdclass != dns.rdataclass.IN:
        return None
    return Query(message, wire)


def answers(reply: bytes, asked: bytes) -> bool:
    """Whether a datagram is the answer to what was asked: its id, and its question."""
    if len(reply) < _QUESTION_AT or reply[:ID_BYTES] != asked[:ID_BYTES] or not reply[2] & 0x80:
        return False
    try:
        found = dns.message.from_wire(reply, question_only=True, ignore_trailing=True)
        wanted = dns.message.from_wire(asked, question_only=True, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return False
    # a server that cannot read a question may leave it out
    return not found.question or found.question == wanted.question
