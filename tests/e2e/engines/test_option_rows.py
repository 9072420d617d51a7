"""Every row of the tables of options, typed with its example into the command above the table.

What an option does to packets is looked at elsewhere; here each is taken, shown and given back.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping

import pytest

from ovsdriver.words import options
from ovsdriver.words.options import Option, Scope
from tests.e2e import documents, labs
from tests.e2e.bed import Bed
from tests.e2e.far import beyond
from tests.e2e.stage import Stage
from tests.e2e.world import Result
from tests.option_examples import typed

pytestmark = pytest.mark.docker

COMMANDS = tuple(
    re.findall(r"^\*\*\w+\*\*: `(docker .*EXAMPLE.*)`$", documents.DRIVER.read_text("utf-8"), re.M)
)

ALONE = "this host is in no fleet"
REFUSED = {
    "ovs.dry_run": "nothing was made",
    **dict.fromkeys(("ovs.segment", "ovs.router"), ALONE),
}
NETEM = dict.fromkeys(
    ("ovs.delay", "ovs.jitter", "ovs.loss", "ovs.corrupt", "ovs.duplicate", "ovs.reorder"),
    "modprobe sch_netem",
)
SHOWN_AS = {"ovs.bridge.add_ports": "ovs.uplink", "ovs.bridge.userspace": "ovs.datapath"}
"""Other words for options."""


@pytest.fixture
def surroundings(bed: Bed) -> Iterator[None]:
    """What the examples name: NICs, the host on ``eth0``, a bridge, two tags, sets of rules."""
    labs.import_images(bed)
    with beyond(bed, "eth0", "eth1", "eth2", "eth3"):
        bed.ip("link", "set", "eth0", "up")
        bed.ip("address", "add", "198.51.100.7/24", "dev", "eth0")
        bed.ovs_vsctl("add-br", "br-lab", "--", "set", "Bridge", "br-lab", "datapath_type=netdev")
        bed.ovs_vsctl("add-port", "br-lab", "eth3")
        bed.ovs_vsctl("set", "Open_vSwitch", ".", "other_config:vlan-limit=2")
        for rules in ("agent", "base"):
            bed.ovsnet("rules", "set", rules, "--allow", "any")
        yield
        for rules in ("agent", "base"):
            bed.ovsnet("rules", "rm", rules)
        bed.ovs_vsctl("remove", "Open_vSwitch", ".", "other_config", "vlan-limit")
        bed.ovs_vsctl("del-br", "br-lab")


def test_every_option_of_a_network_is_taken_shown_and_given_back(
    bed: Bed, surroundings: None, stage: Stage
) -> None:
    stage.container("box", "bridge")

    def shown(row: Option) -> str:
        name = SHOWN_AS.get(row.name, row.name)
        said = json.loads(bed.ovsnet("network", "show", "lab", "--json"))
        return compared(row, said["in_force"][name], options.row(row.scope, name))

    refused = REFUSED | lacking(bed)
    every_row(Scope.NETWORK, lambda row: tried_on_box(bed, row, refused, shown))


def test_every_option_of_addresses_is_taken_shown_and_given_back(
    bed: Bed, surroundings: None, stage: Stage
) -> None:
    stage.container("box", "bridge")

    def shown(row: Option) -> str:
        pool = json.loads(bed.ovsnet("ipam", "pools", "lab", "--json"))[0]["pool"]
        values = {
            "ipam.space": pool["space"],
            "ipam.prefix": pool["subnet"].partition("/")[2],
            "ipam.exclude": ",".join(pool["excluded"]),
            "ipam.quarantine": f"{pool['quarantine_s']:g}s",
            "ipam.limit": str(pool["limit"]),
            "ipam.probe": str(pool["probe"]).lower(),
        }
        return compared(row, values[row.name])

    every_row(Scope.IPAM, lambda row: tried_on_box(bed, row, {"ipam.segment": ALONE}, shown))


def test_every_option_of_a_container_is_taken_shown_and_given_back(
    bed: Bed, surroundings: None, stage: Stage
) -> None:
    stage.network("lab", subnet="10.1.0.0/24")
    refused = lacking(bed)

    def tried(row: Option) -> str:
        done = paste(bed, row)
        if done.code or row.name in refused:
            leftovers = bed.docker("ps", "--all", "--quiet").split()
            bed.attempt("docker", "rm", "--force", *leftovers)
            return judged(row, done, refused)
        container = done.out.strip()
        endpoint = bed.inspect("inspect", container)["NetworkSettings"]["Networks"]["lab"]
        (said,) = json.loads(bed.ovsnet("endpoint", "show", endpoint["EndpointID"], "--json"))
        bed.docker("rm", "--force", container)
        return compared(row, said["in_force"][row.name])

    every_row(Scope.ENDPOINT, tried)


def every_row(scope: Scope, tried: Callable[[Option], str]) -> None:
    """Try all rows, then name those that do not work."""
    complaints = {row.name: complaint for row in options.rows(scope) if (complaint := tried(row))}
    assert not complaints, "\n".join(f"{name}: {said}" for name, said in complaints.items())


def tried_on_box(
    bed: Bed, row: Option, refused: Mapping[str, str], shown: Callable[[Option], str]
) -> str:
    """Make a row's network, connect the container ``box`` to it, and take all back."""
    done = paste(bed, row)
    if done.code or row.name in refused:
        bed.attempt("docker", "network", "rm", "lab")
        return judged(row, done, refused)
    complaint = shown(row)
    for words in (("connect", "lab", "box"), ("disconnect", "lab", "box"), ("rm", "lab")):
        done = bed.attempt("docker", "network", *words)
        complaint += f" network {words[0]}: {done}" if done.code else ""
    return complaint


def paste(bed: Bed, row: Option) -> Result:
    """Type the command above a row's table with the row's example in it."""
    assert row.scope.command in COMMANDS, f"{documents.DRIVER} has no line with {row.scope.command}"
    return bed.attempt("sh", "-c", row.scope.command.replace("EXAMPLE", row.example))


def judged(row: Option, done: Result, refused: Mapping[str, str]) -> str:
    """Return what is wrong with an answer that should be, or is, a refusal."""
    if row.name not in refused:
        return f"{row.example}: {done}"
    right = done.code and refused[row.name] in done.err
    return "" if right else f"not refused with {refused[row.name]!r}: {done}"


def lacking(bed: Bed) -> dict[str, str]:
    """Return what is refused, and with which words, where the kernel has no netem."""
    netem = ("dev", "lo", "root", "netem")
    if bed.attempt("tc", "qdisc", "add", *netem).code:
        return NETEM
    bed.run("tc", "qdisc", "del", *netem)
    return {}


def compared(row: Option, shown: str | None, shown_as: Option | None = None) -> str:
    """Return what is wrong with the value in force; it may be written in another way."""
    said = typed(row)[row.name]
    same = shown is not None and (shown_as or row).parse(shown) == row.parse(said)
    return "" if same else f"{row.example}: in force is {shown}"
