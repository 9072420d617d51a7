"""Answers Docker while ovsnet does not start, so that dockerd and its users need not wait for it.

dockerd looks for a driver that is not there for 15 s, once for each network, each container and
each endpoint of before, one after the other, and its API answers nobody until that is over. So
the sockets are there, tell what kind of driver it is, and refuse all else with a sentence.

    python3 refuse.py SOCKET...

It needs nothing but Python, because what keeps ovsnet from starting may be its installation.
"""

import json
import os
import signal
import socket
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

SENTENCE = (
    "ovsnet does not start: it failed again and again. See `journalctl -u ovsnet`; when it is "
    "mended: `systemctl reset-failed ovsnet.service ovsnet.socket && systemctl start ovsnet`"
)

BODY_LIMIT = 1 << 20

# What ovsnet itself answers; tests/integration/test_refusing.py compares.
KINDS = {"ovsnet": ["NetworkDriver", "IpamDriver"]}
CONSTANTS = {
    "/NetworkDriver.GetCapabilities": {
        "Scope": "local",
        "ConnectivityScope": "local",
        "GwAllocChecker": True,
    },
    "/IpamDriver.GetCapabilities": {"RequiresRequestReplay": False},
}
SPACES = "/IpamDriver.GetDefaultAddressSpaces"
MOST = "ovsipam-"


def spaces(driver):
    """Return the default address spaces of a driver, by its name."""
    local = driver[len(MOST) :] if driver.startswith(MOST) else "ovsnet"
    return {
        "LocalDefaultAddressSpace": local,
        "GlobalDefaultAddressSpace": local + "-global",
    }


class Handler(BaseHTTPRequestHandler):
    """One connection of dockerd's."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Answer one call."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT:
            self.close_connection = True
        else:
            self.rfile.read(length)
        driver = self.server.driver
        kinds = KINDS.get(driver, ["IpamDriver"])
        answer = None
        if self.path == "/Plugin.Activate":
            answer = {"Implements": kinds}
        elif self.path == SPACES:
            answer = spaces(driver)
        elif self.path.strip("/").partition(".")[0] in kinds:
            answer = CONSTANTS.get(self.path)
        if answer is None:
            self.tell(503, {"Err": SENTENCE, "Error": SENTENCE})
        else:
            self.tell(200, answer)

    def tell(self, status, answer):
        """Send an answer."""
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.docker.plugins.v1.2+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        """Return who called: nobody that has an address."""
        return self.server.driver

    def log_request(self, code="-", size="-"):
        """Say nothing of each call: dockerd logs what it is refused."""


class Refusing(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The socket of one driver."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, path):
        self.driver = path.stem
        super().__init__(str(path), Handler)

    def server_bind(self):
        """Bind in the place of a socket on which nobody listens any more."""
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(self.server_address) == 0:
                sys.exit(f"{self.server_address}: somebody answers there; nothing is to be refused")
        Path(self.server_address).unlink(missing_ok=True)
        super().server_bind()


def main(paths):
    """Serve until SIGTERM, then remove the sockets."""
    os.umask(0o177)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    for path in paths:
        threading.Thread(target=Refusing(path).serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    for path in paths:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main([Path(each) for each in sys.argv[1:]])
