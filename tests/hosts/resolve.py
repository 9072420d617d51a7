"""Asks a server for a name once, and says what it answered: run inside of a namespace.

Prints the response code and the addresses, ``NOERROR 10.50.0.5``; ``TIMEOUT`` if nothing came, and
``UNREACHABLE`` if somebody said that nobody is there.
"""

import socket
import sys

import dns.exception
import dns.message
import dns.query
import dns.rcode


def main(server: str, name: str, kind: str, transport: str) -> None:
    query = dns.message.make_query(name, kind)
    try:
        if transport == "tcp":
            answer = dns.query.tcp(query, server, timeout=5)
        else:
            family = socket.AF_INET6 if ":" in server else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect((server, 53))  # or the kernel keeps refusals to itself
                answer = dns.query.udp(query, server, timeout=5, sock=sock)
    except dns.exception.Timeout:
        print("TIMEOUT")  # noqa: T201
        return
    except OSError:
        print("UNREACHABLE")  # noqa: T201
        return
    found = sorted(str(each) for rrset in answer.answer for each in rrset)
    print(dns.rcode.to_text(answer.rcode()), *found)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
