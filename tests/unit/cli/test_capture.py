"""``ovsnet capture``: which links are listened on, until when, and where packets go."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from netaddr import EUI

from ovsdriver.adapters.capture import Counted, Source, Way
from ovsdriver.admin.views import Report, UplinkReport
from ovsdriver.cli.look import capture
from ovsdriver.domain.records.segments import Uplink
from ovsdriver.errors import UnavailableError
from tests.unit.cli.conftest import Desk, Shell
from tests.unit.cli.reports import DB, LAB, OLD, WEB, endpoint, network

MAC = "0a:0f:0a:01:00:02"


class Listening:
    """The adapter, without a kernel: it writes a word, and notes what it was told."""

    def __init__(self) -> None:
        self.sources: list[Source] = []
        self.most: int | None = None
        self.only = ""
        self.lost = 0
        self.fault: Exception | None = None
        self.at_work: Callable[[], None] = lambda: None
        self.ended = False
        self.open = False

    def __call__(self, sources: list[Source], *, only: str) -> "Listening":
        if self.fault is not None:
            raise self.fault
        self.sources, self.open, self.only = list(sources), True, only
        return self

    def run(self, file: IO[bytes], *, most: int | None, until: Callable[[], bool]) -> Counted:
        self.most = most
        file.write(b"pcap")
        assert not until()
        self.at_work()
        self.ended = until()
        return Counted(frames=3, lost=self.lost)

    def close(self) -> None:
        self.open = False


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Listening:
    made = Listening()
    monkeypatch.setattr(capture, "Capture", made)
    return made


@pytest.fixture
def desk(desk: Desk) -> Desk:
    desk.there = Report(
        networks=(network("lab", LAB), network("empty", OLD, gateway_link=None)),
        endpoints=(
            endpoint("web", WEB, mac=MAC, sandbox="/ns/web"),
            endpoint("db", DB, mac=MAC, sandbox="/ns/db", port_kind="internal"),
            endpoint("off", "0ff0" * 16, sandbox=None),
        ),
    )
    return desk


WEB_LINK, DB_LINK = f"ovh{WEB[:12]}", f"ovh{DB[:12]}"


def test_a_container_is_heard_on_the_hosts_end_of_its_pair(
    shell: Shell, desk: Desk, listening: Listening, tmp_path: Path
):
    file = tmp_path / "web.pcap"
    done = shell("capture", "web", "-w", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr.splitlines() == ["listening on 1 link; Ctrl-C ends it", "3 packets"]
    assert listening.sources == [Source(link=WEB_LINK, way=Way.BOTH)]
    assert (listening.most, listening.ended, listening.open) == (None, False, False)
    assert file.read_bytes() == b"pcap"


def test_a_tap_is_heard_inside_of_its_container(
    shell: Shell, desk: Desk, listening: Listening, tmp_path: Path
):
    shell("capture", "lab/db", "-c", "100", "-w", str(tmp_path / "x"))
    assert listening.sources == [Source(sandbox="/ns/db", mac=EUI(MAC), way=Way.BOTH)]
    assert listening.most == 100


def test_of_a_network_each_packet_is_heard_where_it_enters_the_switch(
    shell: Shell, desk: Desk, listening: Listening, tmp_path: Path
):
    uplink = UplinkReport(port="p", vlans=(100,), fault="")
    desk.there = Report(
        networks=(network("lab", LAB, wire=Uplink(nics=("eth1", "eth2")), uplink=uplink),),
        endpoints=desk.there.endpoints,
    )
    done = shell("capture", "lab", "-w", str(tmp_path / "x"))
    assert "listening on 5 links" in done.stderr
    assert listening.sources == [
        Source(link=WEB_LINK, way=Way.IN),
        Source(sandbox="/ns/db", mac=EUI(MAC), way=Way.OUT),
        Source(link="ovg1ab01ab01ab0", way=Way.OUT),
        Source(link="eth1", way=Way.IN, vlan=100),
        Source(link="eth2", way=Way.IN, vlan=100),
    ]


def test_packets_may_go_into_a_pipe(shell: Shell, desk: Desk, listening: Listening):
    listening.lost = 2
    done = shell("capture", "web", "-w", "-")
    assert done.stdout_bytes == b"pcap"
    assert "3 packets, 2 lost" in done.stderr


def test_who_reads_the_pipe_may_go(shell: Shell, desk: Desk, listening: Listening, tmp_path: Path):
    def gone() -> None:
        raise BrokenPipeError

    listening.at_work = gone
    assert shell("capture", "web", "-w", "-").exit_code == 0
    assert not listening.open


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(
    shell: Shell, desk: Desk, listening: Listening, tmp_path: Path, number: signal.Signals
):
    before = signal.getsignal(number)
    listening.at_work = lambda: os.kill(os.getpid(), number)
    done = shell("capture", "web", "-w", str(tmp_path / "x"))
    assert (done.exit_code, listening.ended) == (0, True)
    assert "3 packets" in done.stderr
    assert signal.getsignal(number) is before


def test_it_ends_when_the_time_is_over(
    shell: Shell, desk: Desk, listening: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = [100.0]
    monkeypatch.setattr(capture.time, "monotonic", lambda: clock[0])
    listening.at_work = lambda: clock.append(clock.pop() + 6)
    shell("capture", "web", "-s", "5", "-w", str(tmp_path / "x"))
    assert listening.ended


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("off",), "nothing is plugged in at off; start the container"),
        (("empty",), "nothing is plugged in at empty; start a container on it"),
        (("nobody",), "'nobody' is neither a network nor a container"),
    ],
)
def test_where_nothing_can_be_heard_is_said(
    shell: Shell, desk: Desk, listening: Listening, tmp_path: Path, words: tuple[str], sentence: str
):
    file = tmp_path / "x"
    done = shell("capture", *words, "-w", str(file))
    assert done.exit_code == 1
    assert sentence in done.stderr
    assert not file.exists()


def test_what_the_kernel_refuses_is_said_and_no_file_is_made(
    shell: Shell, desk: Desk, listening: Listening, tmp_path: Path
):
    listening.fault = UnavailableError("cannot listen on ovh1: run it as root on this host")
    done = shell("capture", "web", "-w", str(tmp_path / "x"))
    assert done.exit_code == 1
    assert done.stderr == "ovsnet: cannot listen on ovh1: run it as root on this host\n"
    assert not (tmp_path / "x").exists()


def test_a_file_that_cannot_be_written_is_named(
    shell: Shell, desk: Desk, listening: Listening, tmp_path: Path
):
    done = shell("capture", "web", "-w", str(tmp_path / "none" / "x"))
    assert done.exit_code == 1
    assert "none/x: No such file or directory" in done.stderr
    assert not listening.open


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "Missing option '-w'"),
        (("-w", "x", "-c", "0"), "0 is not in the range x>=1"),
        (("-w", "x", "-s", "0"), "0.0 is not in the range"),
    ],
)
def test_a_wrong_command_line_is_refused(
    shell: Shell, desk: Desk, listening: Listening, words: tuple[str, ...], sentence: str
):
    done = shell("capture", "web", *words)
    assert (done.exit_code, listening.sources) == (2, [])
    assert sentence in done.stderr
