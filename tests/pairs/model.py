"""What is combined, what of it is refused, and which cases hold every pair of the rest.

Pure, but for a look at whether this kernel can delay packets.
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from covertable import make

FACTORS: Mapping[str, tuple[str, ...]] = {
    "mode": ("nat", "routed", "flat", "isolated", "gwbridge", "internal"),
    "wire": ("none", "adopted", "nic", "bond"),
    "vlan": ("chosen", "30", "none"),
    "family": ("ipv4", "dual"),
    "subnets": ("one", "two"),
    "port": ("veth", "internal"),
    "apart": ("together", "icc=false"),
    "guard": ("unguarded", "guarded"),
    "shape": ("unshaped", "rate", "broadcast", "delay"),
    "bridge": ("usual", "rstp", "snooping"),
    "host": ("all", "host=gateway", "host=none"),
    "mirror": ("unseen", "mirrored"),
    "mtu": ("usual", "1400"),
    "prefix": ("eth", "lan"),
    "ann": ("plain", "trunks", "vlan", "protected", "ofport", "mac", "tagged"),
    "published": ("closed", "published"),
    "event": (
        *("nothing", "restart", "reconnect", "lost", "second", "change"),
        *("vswitchd", "killed", "flushed", "bridge"),
    ),
}
"""Values by factor. ``ann`` is how the first of two containers is connected, ``event`` what happens
while both run."""

Case = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Values that do not go together, and a pattern of the sentence that says so."""

    of: Mapping[str, tuple[str, ...]]
    says: str

    def fits(self, case: Case) -> bool:
        """Whether a case has such values."""
        return all(case[factor] in values for factor, values in self.of.items())


_GATEWAYS, _NO_GATEWAYS = ("nat", "routed"), ("flat", "isolated", "gwbridge", "internal")
_WIRES = ("adopted", "nic", "bond")
_TAGS = ("trunks", "tagged")
_NETEM = not subprocess.run(
    ("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem"),
    capture_output=True,
    check=False,
).returncode
_UNDELAYED = () if _NETEM else (Refusal({"shape": ("delay",)}, r"modprobe sch_netem"),)

REFUSALS = (
    Refusal({"wire": _WIRES, "vlan": ("chosen",)}, r"ovs\.vlan"),
    Refusal({"wire": ("nic", "bond"), "mode": ("isolated", "internal")}, r"use -o ovs\.mode=flat"),
    Refusal({"port": ("internal",), "shape": ("rate", "delay")}, r"use ovs\.port=veth"),
    *_UNDELAYED,
    Refusal(
        {"bridge": ("rstp", "snooping"), "wire": ("adopted",)}, r"ovsnet did not make bridge br-lab"
    ),
    Refusal({"bridge": ("rstp",), "wire": ("nic", "bond")}, r"with an uplink"),
    Refusal({"bridge": ("rstp",), "mode": _GATEWAYS}, r"floods nothing to a gateway"),
    Refusal({"bridge": ("rstp",), "port": ("internal",)}, r"floods nothing to internal ports"),
    Refusal({"bridge": ("rstp",), "guard": ("guarded",)}, r"no guard stops that"),
    Refusal({"host": ("host=gateway",), "mode": _NO_GATEWAYS}, r"ovs\.host=gateway: "),
    Refusal({"host": ("host=none",), "mode": ("flat", "gwbridge")}, r"ovs\.host=none: "),
    Refusal({"vlan": ("none",), "ann": ("tagged",)}, r"or use native-untagged"),
    Refusal({"guard": ("guarded",), "ann": _TAGS}, r"ovs\.guard=true and ovs\.trunks"),
)
"""What the documents and ``ovsnet options`` say cannot be had together."""

_UNREFUSED: Case = {factor: values[0] for factor, values in FACTORS.items()} | {"vlan": "30"}


def cases(seed: str) -> list[Case]:
    """Return cases that hold every pair of values which is not refused; a seed gives the same."""
    refused: list[Mapping[str, object]] = []
    for refusal in REFUSALS:
        values = [{"operator": "in", "left": f, "values": list(v)} for f, v in refusal.of.items()]
        alike = values[0] if len(values) == 1 else {"operator": "and", "conditions": values}
        refused.append({"operator": "not", "condition": alike})
    found = make({k: list(v) for k, v in FACTORS.items()}, salt=seed, constraints=refused)
    return [{factor: str(row[factor]) for factor in FACTORS} for row in found]


def refused_case(refusal: Refusal) -> Case:
    """Return a case of which nothing is refused but this."""
    plain = ({}, {"mode": "flat"})
    for other, *values in product(plain, *refusal.of.values()):
        case = {**_UNREFUSED, **other, **dict(zip(refusal.of, values, strict=True))}
        if not any(each.fits(case) for each in REFUSALS if each is not refusal):
            return case
    raise AssertionError(f"nothing is refused by {refusal} alone")


def chosen(seed: str, share: int) -> list[Case]:
    """Return every ``share``-th case of those that hold every pair."""
    return cases(seed)[::share]


def text(case: Case) -> str:
    """Return the values of a case that say something, as the name of its test."""
    usual = {values[0] for factor, values in FACTORS.items() if factor not in ("mode", "wire")}
    return "-".join(value for value in case.values() if value not in usual)


SEED = os.environ.get("TESTS_PAIRS_SEED", "1")
SHARE = int(os.environ.get("TESTS_PAIRS_SHARE", "6"))
"""Every how-manieth case is tried: all of them take half an hour."""


def one_lan(case: Case) -> bool:
    """Whether ann is in the VLAN of her network, untagged."""
    return case["ann"] not in ("vlan", "tagged")


def talks(case: Case) -> bool:
    """Whether ann and bob reach each other."""
    return one_lan(case) and case["apart"] == "together"


def is_seen(case: Case) -> bool:
    """Whether what bob sends is copied to who looks, on the same network."""
    return case["mirror"] == "mirrored" and case["apart"] == "together"


def on_wire(case: Case) -> bool:
    """Whether the network is the LAN beyond the wire, too."""
    return case["wire"] != "none"


def has_gateway(case: Case) -> bool:
    """Whether the host is the network's gateway."""
    return case["mode"] in ("nat", "routed")


def gets_out(case: Case) -> bool:
    """Whether ann reaches the world outside by way of this host."""
    return case["mode"] == "gwbridge" or (has_gateway(case) and one_lan(case))


def is_published(case: Case, *, on_nat: bool) -> bool:
    """Whether ann's port answers at the host's address; ``on_nat``: she is on a nat network too."""
    if case["published"] == "closed" or (case["mode"] == "nat" and case["ann"] == "tagged"):
        return False  # published for her, who speaks with a tag there
    return on_nat or case["mode"] == "gwbridge" or (case["mode"] == "nat" and one_lan(case))
