import fcntl
import itertools
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from netaddr import EUI, IPNetwork

from ovsdriver.admin import asks
from ovsdriver.admin.measures.views import EndpointTraffic, GatewayTraffic, TrafficReport
from ovsdriver.admin.views import Report
from ovsdriver.domain.wires.observed import Traffic
from tests.unit.cli.conftest import Desk, Shell
from tests.unit.cli.reports import LAB, WEB, endpoint, network

NOBODY = ("--ovsdb", "unix:/nowhere/db.sock", "--seconds", "0.2")


def passed(received: int, sent: int, dropped: int = 0) -> Traffic:
    return Traffic(
        received_bytes=received,
        received_packets=received // 100,
        sent_bytes=sent,
        sent_packets=sent // 100,
        sent_dropped=dropped,
    )


class Counting:
    """A process in which ten seconds pass from one look to the next."""

    def __init__(self, *looks: dict[str, Traffic]) -> None:
        self._looks: Iterator[dict[str, Traffic]] = itertools.chain(
            looks, itertools.repeat(looks[-1])
        )
        self._at = itertools.count(0, 10)

    async def show(self, _: asks.ShowTraffic) -> TrafficReport:
        counted = next(self._looks)
        return TrafficReport(
            at=float(next(self._at)),
            endpoints=tuple(
                EndpointTraffic(
                    endpoint=f"{name:e<64}",
                    network=LAB,
                    network_name="lab",
                    container=name,
                    link=f"ovh{name}",
                    mac=EUI("0a:0f:0a:01:00:02"),
                    addresses=(IPNetwork("10.1.0.2/24"),),
                    up=True,
                    traffic=traffic,
                )
                for name, traffic in counted.items()
            ),
            gateways=(
                GatewayTraffic(
                    network=LAB,
                    network_name="lab",
                    link="ovg",
                    mac=None,
                    addresses=(),
                    traffic=None,
                ),
            ),
        )


@pytest.fixture
def looks(desk: Desk) -> Desk:
    desk.there = Report(
        networks=(network("lab", LAB),),
        endpoints=(endpoint("web", WEB, LAB),),
    )
    counting = Counting(
        {"db": passed(0, 0), "web": passed(1000, 5000), "idle": passed(7, 7)},
        {"db": passed(90_000, 0), "web": passed(1000, 9000, 20), "idle": passed(7, 7)},
    )
    return desk.also({asks.ShowTraffic: counting.show})


@pytest.mark.usefixtures("looks")
def test_rates_are_those_between_two_looks_and_the_busiest_is_first(shell: Shell):
    found = shell.json("top", "--once", *NOBODY)
    assert found["seconds"] == 10.0
    rates = [(e["container"], e["received_bytes"], e["sent_bytes"]) for e in found["containers"]]
    assert rates == [("db", 9000.0, 0.0), ("web", 0.0, 400.0), ("idle", 0.0, 0.0)]
    assert found["containers"][1]["dropped_packets"] == 2.0


@pytest.mark.usefixtures("looks")
def test_what_comes_first_is_chosen(shell: Shell):
    found = shell.json("top", "--sort", "dropped", *NOBODY)
    assert found["containers"][0]["container"] == "web"


@pytest.mark.usefixtures("looks")
def test_in_a_pipe_it_is_printed_once_and_without_colours(shell: Shell):
    result = shell("top", "-n", "2", *NOBODY)
    assert result.exit_code == 0
    first, *rows = result.stdout.splitlines()
    assert first.split()[0] == "CONTAINER"
    assert [row.split()[0] for row in rows] == ["lab/db", "lab/web"]
    assert "9.0 kB" in rows[0]
    assert "\x1b" not in result.stdout
    assert "who talks to whom is not known" in result.stderr


@pytest.mark.usefixtures("looks")
def test_one_container_or_network_is_looked_at(shell: Shell):
    for target, names in (("web", {"web"}), ("lab/web", {"web"}), ("lab", {"db", "web", "idle"})):
        found = shell.json("top", target, *NOBODY)
        assert {each["container"] for each in found["containers"]} == names


@pytest.mark.usefixtures("looks")
def test_a_container_that_is_on_no_network_of_ours_is_a_sentence(shell: Shell):
    result = shell("top", "shop", *NOBODY)
    assert result.exit_code == 1
    assert "shop" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_link_that_was_made_anew_counts_from_nought(shell: Shell, desk: Desk):
    counting = Counting({"web": passed(5000, 5000)}, {"web": passed(100, 0)})
    desk.also({asks.ShowTraffic: counting.show})
    (web,) = shell.json("top", *NOBODY)["containers"]
    assert (web["received_bytes"], web["sent_bytes"]) == (10.0, 0.0)


@pytest.mark.usefixtures("looks")
def test_on_a_terminal_it_goes_on_until_ctrl_c(tmp_path: Path):
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    words = ("top", "--run-dir", str(tmp_path), *NOBODY)
    running = subprocess.Popen(
        [sys.executable, "-m", "ovsdriver", *words],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(inner)
    try:
        shown = b""
        while b"lab/db" not in shown or b"who talks to whom is not known" not in shown:
            shown += os.read(terminal, 65_536)
        again = b""
        while b"CONTAINER" not in again:  # the next picture
            again += os.read(terminal, 65_536)
        running.send_signal(signal.SIGINT)
        while running.poll() is None:
            with suppress(OSError):  # it closed its end
                os.read(terminal, 65_536)
        assert running.returncode == 0
    finally:
        running.kill()
        running.wait()
        os.close(terminal)
