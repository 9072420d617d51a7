"""Asks a server for a name once, and says what it answered: run inside of a namespace.

Prints the response code and the addresses, ``NOERROR 10.50.0.5``; ``TIMEOUT`` if nothing came.
"""

import sys

import dns.exception
import dns.message
import dns.query
import dns.rcode


def main(server: str, name: str, kind: str, transport: str) -> None:
    query = dns.message.make_query(name, kind)
    ask = dns.query.tcp if transport == "tcp" else dns.query.udp
    try:
        answer = ask(query, server, timeout=5)
    except (dns.exception.Timeout, OSError):
        print("TIMEOUT")  # noqa: T201
        return
    found = sorted(str(each) for rrset in answer.answer for each in rrset)
    print(dns.rcode.to_text(answer.rcode()), *found)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
