"""Metrics of real traffic, read by hand, by a real Prometheus, and by ``ovsnet top``."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any
from urllib.parse import quote

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e import ears
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.world import Program, until

pytestmark = pytest.mark.docker

MONITORING = Path(__file__).parents[3] / "ansible/roles/ovsnet/files/monitoring"
PROMETHEUS = "127.0.0.1:7822"
FRAMES, BYTES = 200, 1400


def told(bed: Bed) -> Mapping[tuple[str, str], float]:
    """Return what is told of containers: by metric and container."""
    return {
        (sample.name.removeprefix("ovsnet_endpoint_"), sample.labels["container"]): sample.value
        for family in text_string_to_metric_families(bed.ovsnet("metrics"))
        for sample in family.samples
        if "container" in sample.labels
    }


def counts(container: Container) -> tuple[int, int]:
    """Return what a container's own interface says it received and sent."""
    folder = "/sys/class/net/eth0/statistics"
    received, sent = container.execute("cat", f"{folder}/rx_bytes", f"{folder}/tx_bytes").split()
    return int(received), int(sent)


def flood(source: Container, sink: Container, network: Network) -> None:
    """Send one way only."""
    macs = (each.endpoint(network)["MacAddress"].replace(":", "") for each in (sink, source))
    head = b"".join(map(bytes.fromhex, macs)) + b"\x08\x00"
    ears.send_raw((source, "eth0"), {f"n{n}": head + bytes(BYTES) for n in range(FRAMES)})


@pytest.mark.parametrize("kind", ["veth", "internal"])
def test_bytes_move_and_each_way_is_the_containers_own(bed: Bed, stage: Stage, kind: str) -> None:
    network = stage.network("lab", "-o", f"ovs.port={kind}", subnet="10.77.3.0/24")
    loud, quiet = stage.container("loud", network), stage.container("quiet", network)
    until(lambda: ("up", "quiet") in told(bed), "Docker's names are known")
    before = told(bed)
    assert (before["up", "loud"], before["up", "quiet"]) == (1, 1)
    flood(loud, quiet, network)

    def agrees() -> bool:
        now = told(bed)
        return all(
            (now["receive_bytes_total", each.name], now["transmit_bytes_total", each.name])
            == counts(each)
            for each in (loud, quiet)
        )

    until(agrees, lambda: f"{told(bed)} is {counts(loud)} and {counts(quiet)}")
    now = told(bed)

    def more(what: str, name: str) -> float:
        return now[f"{what}_packets_total", name] - before[f"{what}_packets_total", name]

    assert more("transmit", "loud") >= FRAMES
    assert more("receive", "loud") < FRAMES / 2
    assert more("receive", "quiet") >= FRAMES / 2  # the datapath may drop of a burst
    assert more("transmit", "quiet") < FRAMES / 2


def test_series_end_with_their_container(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", subnet="10.77.3.0/24")
    stage.container("web", network)
    stage.container("db", network)
    until(lambda: {("up", "web"), ("up", "db")} <= told(bed).keys(), "both are told")
    bed.docker("rm", "--force", "web")
    until(lambda: not {each for each in told(bed) if each[1] == "web"}, "what is of web ends")
    assert told(bed)["up", "db"] == 1
    bed.ovsnet("set", "db", "ovs.link=down")
    until(lambda: told(bed)["up", "db"] == 0, "a pulled cable shows")


@contextmanager
def prometheus(bed: Bed) -> Iterator[None]:
    """A real one that scrapes our process each second, with the role's rules."""
    folder = bed.home / "prometheus"
    folder.mkdir()
    shutil.copy(MONITORING / "ovsnet-rules.yml", folder)
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "rule_files: [ovsnet-rules.yml]\n"
        "scrape_configs: [{job_name: ovsnet, static_configs: [{targets: ['127.0.0.1:7821']}]}]\n"
    )
    program = Program(
        bed,
        "prometheus",
        *("prometheus", f"--config.file={folder}/prometheus.yml", "--log.level=warn"),
        *(f"--storage.tsdb.path={folder}/data", f"--web.listen-address={PROMETHEUS}"),
    )
    program.start()
    try:
        ready = ("curl", "--silent", "--fail", f"http://{PROMETHEUS}/-/ready")
        until(lambda: bed.attempt(*ready).code == 0, lambda: program.said())
        until(lambda: asked(bed, "query?query=up") != [], lambda: program.said())
        yield
    finally:
        program.stop(SIGTERM)
        shutil.rmtree(folder)


def asked(bed: Bed, path: str) -> Any:
    said = bed.run("curl", "--silent", "--globoff", f"http://{PROMETHEUS}/api/v1/{path}")
    answer = json.loads(said)
    assert answer["status"] == "success", answer
    return answer["data"].get("result", answer["data"])


def queries() -> Mapping[str, str]:
    """Return what the dashboard asks, by panel, with everything chosen."""
    panels = json.loads((MONITORING / "ovsnet-dashboard.json").read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": re.sub(
            r"\$(instance|network|container)", ".*", target["expr"]
        ).replace("$__rate_interval", "30s")
        for panel in panels
        for target in panel["targets"]
    }


def test_a_real_prometheus_answers_everything_that_the_dashboard_asks(
    bed: Bed, stage: Stage
) -> None:
    bed.ip("link", "add", "nic0", "type", "veth", "peer", "name", "nic1")
    try:
        for nic in ("nic0", "nic1"):
            bed.ip("link", "set", nic, "up")
        network = stage.network("lab", subnet="10.77.3.0/24")
        stage.network("office", "-o", "ovs.uplink=nic0", "-o", "ovs.vlan=30", subnet="10.77.4.0/24")
        web, db = stage.container("web", network), stage.container("db", network)
        db.reaches(web.address(network), "web")
        with prometheus(bed):
            unanswered = dict(queries())

            def all_answered() -> bool:
                for panel, query in list(unanswered.items()):
                    found = asked(bed, f"query?query={quote(query)}")
                    if any(each["value"][1] != "NaN" for each in found):
                        del unanswered[panel]
                db.pings(web.address(network))
                if unanswered:  # calls of Docker's have rates while there are some
                    bed.docker("restart", "--time", "0", "db")
                return not unanswered

            until(all_answered, lambda: f"series for {unanswered}", timeout_s=120)
            (target,) = asked(bed, "targets")["activeTargets"]
            assert (target["health"], target["lastError"]) == ("up", "")
            (group,) = asked(bed, "rules")["groups"]
            assert {(each["health"], each.get("lastError", "")) for each in group["rules"]} == {
                ("ok", "")
            }
            assert {each["state"] for each in group["rules"]} == {"inactive"}
        stage.clear()
    finally:
        bed.attempt("ip", "link", "del", "nic1")


def test_top_tells_who_talks_to_whom_and_who_goes_out(bed: Bed, stage: Stage) -> None:
    network = stage.network("lab", subnet="10.77.3.0/24")
    web, db = stage.container("web", network), stage.container("db", network)
    until(lambda: ("up", "db") in told(bed), "Docker's names are known")
    said = ("ping", "-i", "0.1", "-s", "1000", web.address(network))
    pinging = Program(bed, "pinging", *said, netns=db.netns)
    pinging.start()
    try:
        db.asks(OUTSIDE4, OUTSIDE_PORT)
        found = json.loads(bed.ovsnet("top", "--json", "--seconds", "3"))
    finally:
        pinging.stop()
    assert found["unknown"] == []
    talks = {(each["source"], each["target"]): each for each in found["talks"]}
    for pair in (("lab/db", "lab/web"), ("lab/web", "lab/db")):
        assert talks[pair]["bytes"] > 1000, found["talks"]
    rates = {each["container"]: each for each in found["containers"]}
    assert rates["web"]["received_bytes"] > 1000
    assert rates["db"]["sent_bytes"] > 1000
    out = [each for each in found["past"] if each["peer"] == f"{OUTSIDE4} tcp/{OUTSIDE_PORT}"]
    assert [(each["container"], each["outward"]) for each in out] == [("lab/db", True)]
    shown = bed.ovsnet("top", "--once", "db", "--seconds", "0.2")
    assert "lab/db" in shown
    refused = bed.try_ovsnet("top", "nobody")
    assert refused.code == 1
    assert "nobody" in refused.err
