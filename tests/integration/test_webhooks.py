"""Webhooks of the real process, with a server that fails, hangs and comes back, over kills."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.integration.netns import Sandbox, inside
from tests.integration.process import PATIENCE_S, Process, made

pytestmark = pytest.mark.netns

SECRET = "0123456789abcdef" * 2


class Receiver:
    """A server on the process's own loopback, whose port stays when it is away."""

    def __init__(self, netns: str) -> None:
        self._netns = netns
        self.port = 0
        self.status = 200
        self.hanging = threading.Event()
        self.asked = 0
        self.got: list[dict[str, Any]] = []
        self.unsigned = 0

    @contextmanager
    def there(self) -> Iterator[None]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.asked += 1
                if receiver.hanging.is_set():
                    receiver.gone.wait(PATIENCE_S * 2)
                    return
                digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
                if self.headers["Ovsnet-Signature-256"] != f"sha256={digest}":
                    receiver.unsigned += 1
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                if receiver.status == 200:
                    receiver.got.append(json.loads(body))

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        with inside(self._netns):
            server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        server.daemon_threads = True
        self.port = server.server_address[1]
        self.gone = threading.Event()
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield
        finally:
            self.gone.set()
            server.shutdown()
            server.server_close()
            serving.join(PATIENCE_S)

    def addresses(self) -> list[str]:
        """Return the addresses that it was told to be given, in order, each once."""
        told = [each for each in self.got if each["type"] == "ovsnet.lease.given"]
        by_id = {int(each["id"]): each["data"]["attributes"]["address"] for each in told}
        ids = [int(each["id"]) for each in told]
        # again is allowed, back is not, but for where a process began anew
        assert sorted(by_id) == list(dict.fromkeys(ids))
        return list(by_id.values())


@pytest.fixture
def netns() -> Iterator[str]:
    with Sandbox() as sandbox:
        yield sandbox.path


@pytest.fixture
def receiver(netns: str) -> Receiver:
    return Receiver(netns)


@pytest.fixture
def process(netns: str) -> Iterator[Process]:
    with made(netns) as alone:
        yield alone


def start(process: Process, *urls: str, types: str = '["lease"]') -> None:
    hooks = "".join(
        f'[[webhooks]]\nurl = "{url}"\nsecret = "{SECRET}"\ntypes = {types}\n' for url in urls
    )
    process.config.write_text(hooks)
    process.log.write_text("")
    process.start()
    process.until(lambda: "process.ready" in process.said(), "the store is open")


def kill(process: Process) -> None:
    assert process.running is not None
    process.running.kill()
    process.running.wait(PATIENCE_S)


def lease(process: Process, pool: str) -> str:
    _, answer = process.ask("IpamDriver.RequestAddress", {"PoolID": pool}, name="ovsipam")
    return str(answer["Address"]).partition("/")[0]


def a_pool(process: Process) -> str:
    _, answer = process.ask("IpamDriver.RequestPool", {"Pool": "10.77.0.0/24"}, name="ovsipam")
    return str(answer["PoolID"])


def warnings(process: Process) -> str:
    return str(process.admin("show-status")[1]["warnings"])


def test_a_server_that_fails_hangs_and_goes_away_gets_all_of_it_in_order(
    process: Process, receiver: Receiver
) -> None:
    given: list[str] = []
    with receiver.there():
        url = f"http://127.0.0.1:{receiver.port}/in?token=abc"
        start(process, url)
        pool = a_pool(process)
        given.append(lease(process, pool))
        process.until(lambda: receiver.addresses() == given, "the first is told")
        receiver.status = 503
        given.append(lease(process, pool))
        process.until(lambda: "it answers 503" in warnings(process), "status says so")
        assert "abc" not in warnings(process)
        kill(process)
        given_before = len(receiver.addresses())
        start(process, url)
        receiver.status = 200
        process.until(lambda: len(receiver.addresses()) > given_before, "the second is told")
        receiver.hanging.set()
        asked = receiver.asked
        given.append(lease(process, pool))
        process.until(lambda: receiver.asked > asked, "it is asked, and hangs")
        given.append(lease(process, pool))  # nobody waits for it
    kill(process)
    receiver.hanging.clear()
    start(process, url)
    given.append(lease(process, pool))
    process.until(lambda: "no connection" in warnings(process), "it is not there")
    with receiver.there():
        process.until(lambda: receiver.addresses() == given, "all of it is told")
        process.until(lambda: "webhook" not in warnings(process), "and all is well again")
    assert receiver.unsigned == 0


def test_one_that_cannot_be_found_is_named_by_status_and_check_and_holds_up_nobody(
    process: Process, receiver: Receiver
) -> None:
    with receiver.there():
        start(process, "http://hooks.invalid/", f"http://127.0.0.1:{receiver.port}/")
        given = lease(process, a_pool(process))
        process.until(lambda: receiver.addresses() == [given], "the other one is told")
        process.until(
            lambda: "hooks.invalid cannot be resolved" in warnings(process), "status says so"
        )
    checked = process.command("check", *process.flags("run-dir", "state-dir", "plugin-dir"))
    assert "hooks.invalid of http://hooks.invalid/ cannot be resolved" in checked.stdout
    assert SECRET not in process.said()


@pytest.mark.parametrize(
    ("hook", "sentence"),
    [
        ('url = "hooks.example"\nsecret = "0123456789abcdef"', "is not where events can be sent"),
        ('url = "https://h.example/"\nsecret = "short"', "openssl rand -hex 32"),
        ('url = "https://h.example/"', "it has a `url`, a `secret`"),
        (
            'url = "https://h.example/"\nsecret = "0123456789abcdef"\ntypes = ["lnik"]',
            "is no type of events",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(
    process: Process, hook: str, sentence: str
) -> None:
    process.config.write_text(f"[[webhooks]]\n{hook}\n")
    refused = process.command("status", *process.flags("run-dir"))
    assert refused.returncode == 1
    assert sentence in refused.stderr
    assert "webhooks[0]" in refused.stderr
