"""Program: an HTTP server that answers with the address at which it sees its client."""

import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address


class _Mirror(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        seen = IPv6Address(self.client_address[0])
        body = f"{seen.ipv4_mapped or seen}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


class _DualStack(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True


if __name__ == "__main__":
    with _DualStack(("::", int(sys.argv[1])), _Mirror) as server:
        print("listening", flush=True)  # noqa: T201
        server.serve_forever()
