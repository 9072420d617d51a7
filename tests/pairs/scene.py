"""A case on a bed: its network, ann and bob on it, what happens, and who reaches whom."""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from signal import SIGKILL
from typing import Any

import pytest

from tests.e2e.bed import OUTSIDE4, OUTSIDE6, OUTSIDE_PORT, WAN4, WAN6, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import CommandError, until
from tests.pairs import model
from tests.pairs.model import Case

SUBNET4, SUBNET6 = "10.77.1.0/24", "fd00:77:1::/64"
BESIDE4 = "10.77.2.0/24"
"""The second subnet of networks that have two; ann is there."""
BOB4, ANN4 = "10.77.1.140", "10.77.2.140"
NOBODY4 = "10.77.1.99"
PORT = 8077

_NETWORK: Mapping[str, tuple[str, ...]] = {
    **{f"mode {mode}": ("-o", f"ovs.mode={mode}") for mode in model.FACTORS["mode"][:-1]},
    "mode internal": ("--internal",),
    "wire adopted": ("-o", "ovs.bridge=br-lab"),
    "wire nic": ("-o", "ovs.uplink=eth1"),
    "wire bond": ("-o", "ovs.uplink=eth1+eth2"),
    "vlan 30": ("-o", "ovs.vlan=30"),
    "vlan none": ("-o", "ovs.vlan=none"),
    "family dual": ("--ipv6", "--subnet", SUBNET6),
    "subnets two": ("--subnet", BESIDE4),
    "port internal": ("-o", "ovs.port=internal"),
    "apart icc=false": ("-o", "ovs.icc=false"),
    "guard guarded": ("-o", "ovs.guard=true"),
    "shape rate": ("-o", "ovs.rate=200mbit"),
    "shape broadcast": ("-o", "ovs.broadcast=500"),
    "shape delay": ("-o", "ovs.delay=3ms", "-o", "ovs.jitter=1ms"),
    "mirror mirrored": ("-o", "ovs.mirror=sink:ids"),
    "bridge rstp": ("-o", "ovs.rstp=containers"),
    "bridge snooping": ("-o", "ovs.mcast=true"),
    "host host=gateway": ("-o", "ovs.host=gateway"),
    "host host=none": ("-o", "ovs.host=none"),
    "mtu 1400": ("-o", "ovs.mtu=1400"),
    "prefix lan": ("-o", "ovs.ifprefix=lan"),
}
_ANN: Mapping[str, tuple[str, ...]] = {
    "trunks": ("ovs.trunks=77",),
    "vlan": ("ovs.vlan=77",),
    "protected": ("ovs.protected=true",),
    "ofport": ("ovs.ofport=20077",),
    "mac": ("ovs.mac=02:00:00:00:00:77",),
    "tagged": ("ovs.trunks=77", "ovs.vlan_mode=native-tagged"),
}


def network_options(case: Case) -> list[str]:
    """Return what is typed for the network of a case."""
    said = [word for key in case for word in _NETWORK.get(f"{key} {case[key]}", ())]
    if case["bridge"] == "rstp" and case["wire"] == "none":
        said += ["-o", "ovs.bridge=br-one"]
    return [*said, "--ip-range", "10.77.1.128/25"]


@dataclass(frozen=True)
class Surroundings:
    """What stays while cases come and go."""

    bed: Bed
    stage: Stage
    lan: Mapping[int | None, Place]
    """Hosts beyond the wire, by VLAN; None is untagged. They have addresses of the network's."""
    other: Network
    zoe: Container
    """On a network of her own, which nobody reaches."""


class Scene:
    """One case while it stands."""

    def __init__(self, around: Surroundings, case: Case) -> None:
        self.around = around
        self.bed, self.stage, self.case = around.bed, around.stage, case
        self.second: Network | None = None

    def begin(self) -> None:
        """Create the network, and run bob and ann on it."""
        self.one = self.stage.network("one", *network_options(self.case), subnet=SUBNET4)
        options = "".join(f",driver-opt={each}" for each in _ANN.get(self.case["ann"], ()))
        published = ("-p", f"{PORT}:80") if self.case["published"] == "published" else ()
        two = self.case["subnets"] == "two"
        # without, Docker's client leaves it to chance which of two subnets it takes
        at_bob, at_ann = (f",ip={each}" if two else "" for each in (BOB4, ANN4))
        if self.case["mirror"] == "mirrored":
            self.ids = self.stage.container("ids", "name=one,driver-opt=ovs.sink=ids")
        self.bob = self.stage.container("bob", f"name=one{at_bob}")
        self.ann = self.stage.container("ann", f"name=one{at_ann}{options}", *published)

    def is_right(self) -> None:
        """Assert that all is as it should be, once it has come to rest."""
        until(lambda: not self._would_be_mended(), lambda: f"{self._would_be_mended()}")
        checks = [*self._reached(), *self._unreached()]
        with ThreadPoolExecutor(6) as pool:
            for done in [pool.submit(check) for check in checks]:
                done.result()
        assert not self._would_be_mended()

    def _would_be_mended(self) -> list[str]:
        said = json.loads(self.bed.ovsnet("reconcile", "--dry-run", "--json"))
        found: list[str] = [each for key in ("found", "failed") for each in said[key]]
        return found

    def _families(self) -> tuple[int, ...]:
        return (4, 6) if self.case["family"] == "dual" else (4,)

    def _reached(self) -> list[Callable[[], object]]:
        case, checks = self.case, list[Callable[[], object]]()
        host = Place(self.bed, "the host")
        outside = Place(self.bed, "the outside", self.bed.outside)
        ann, bob = self.ann, self.bob
        if model.is_seen(case):
            checks.append(self._seen)
        elif case["mirror"] == "mirrored":
            checks.append(self._is_told_of)
        for family in self._families():
            at_ann, at_bob = ann.address(self.one, family), bob.address(self.one, family)
            four = family == 4
            if model.talks(case):
                checks.append(lambda a=at_bob: ann.reaches(a, who="bob"))
                checks.append(lambda a=at_ann: bob.reaches(a, who="ann"))
            if model.has_gateway(case):
                checks.append(lambda a=at_bob: host.reaches(a, who="bob"))
            if model.gets_out(case) and (four or model.has_gateway(case)):
                server = OUTSIDE4 if four else OUTSIDE6
                checks.append(lambda a=server: ann.reaches(a, port=OUTSIDE_PORT))
            if lan := self._lan():
                address = lan.sees("-4" if four else "-6", "address", "show", "eth0")[0]
                there = next(a["local"] for a in address["addr_info"] if a["scope"] == "global")
                checks.append(lambda a=there, n=lan.name: bob.reaches(a, who=n))
                checks.append(lambda a=at_bob, p=lan: p.reaches(a, who="bob"))
            published = model.is_published(case, on_nat=self.second is not None)
            # Docker's own bridge has no IPv6 here
            if published and (four or case["mode"] != "gwbridge"):
                at = WAN4 if four else WAN6
                for place in (host, outside):
                    checks.append(
                        lambda a=at, p=place: until(
                            lambda: p.asks(a, PORT) == "ann", f"{p.name} asks {a}"
                        )
                    )
        return checks

    def _seen(self) -> None:
        """Assert that who gets the copies gets some; else nothing comes to him."""
        before = self._copies()
        until(
            lambda: not self.bob.pings(NOBODY4) and self._copies() > before,
            "there are copies of what bob asks everybody",
        )

    def _is_told_of(self) -> None:
        said = "keeps copies from it"
        until(lambda: said in self.bed.ovsnet("status"), f"status says: {said}", timeout_s=60)

    def _copies(self) -> int:
        link = f"{self.case['prefix']}0"
        return int(self.ids.execute("cat", f"/sys/class/net/{link}/statistics/rx_packets"))

    def _lan(self) -> Place | None:
        """Return the host of the wire in the network's VLAN."""
        if not model.on_wire(self.case):
            return None
        return self.around.lan[30 if self.case["vlan"] == "30" else None]

    def _unreached(self) -> list[Callable[[], object]]:
        around, case, ann, bob = self.around, self.case, self.ann, self.bob
        at_bob, at_ann = bob.address(self.one), ann.address(self.one)
        checks: list[Callable[[], object]] = [
            lambda: ann.never_reaches(around.zoe.address(around.other)),
            lambda: around.zoe.never_reaches(at_bob),
        ]
        if not model.talks(case):
            checks.append(lambda: ann.never_reaches(at_bob))
            checks.append(lambda: bob.never_reaches(at_ann))
        if case["mode"] in ("isolated", "internal", "flat") and self.second is None:
            checks.append(lambda: ann.never_reaches(OUTSIDE4, OUTSIDE_PORT))
        if not model.has_gateway(case):
            host = Place(self.bed, "the host")
            checks.append(lambda: host.never_reaches(at_bob))
        if case["wire"] != "none":
            wrong = around.lan[None if case["vlan"] == "30" else 30]
            checks.append(lambda: wrong.never_reaches(at_bob))
        return checks

    def happens(self) -> None:
        """Let the event of the case happen."""
        _EVENTS[self.case["event"]](self)

    def clear(self) -> None:
        """Remove all that was made for the case."""
        for name in ("ann", "bob", "ids"):
            self.bed.attempt("docker", "rm", "--force", name)
        self.bed.attempt("docker", "network", "rm", "one")


def _restart(scene: Scene) -> None:
    scene.bed.docker("restart", "--time", "0", "ann")


def _reconnect(scene: Scene) -> None:
    options = [w for each in _ANN.get(scene.case["ann"], ()) for w in ("--driver-opt", each)]
    scene.bed.docker("network", "disconnect", "one", "ann")
    where = ("--ip", ANN4) if scene.case["subnets"] == "two" else ()
    scene.bed.docker("network", "connect", *options, *where, "one", "ann")


def _lose(scene: Scene) -> None:
    shown = _endpoint(scene)
    if scene.case["port"] == "internal":
        scene.bed.ovs_vsctl("del-port", shown["port_name"])
    else:
        scene.bed.ip("link", "del", shown["port_name"])


def _endpoint(scene: Scene) -> Any:
    (shown,) = json.loads(scene.bed.ovsnet("endpoint", "show", "ann", "--json"))
    return shown


def _connect_second(scene: Scene) -> None:
    scene.second = Network(scene.bed, "second")
    scene.bed.docker("network", "connect", "second", "ann")


def _change(scene: Scene) -> None:
    scene.bed.ovsnet("set", "one", "ovs.broadcast=900")


def _kill_vswitchd(scene: Scene) -> None:
    scene.bed.vswitchd.stop(SIGKILL)
    scene.bed.start_vswitchd()


def _flush(scene: Scene) -> None:
    scene.bed.attempt("nft", "delete", "table", "inet", "ovsnet")


def _delete_bridge(scene: Scene) -> None:
    one = json.loads(scene.bed.ovsnet("network", "show", "one", "--json"))
    bridge = one["network"]["segment"]["bridge"]
    if bridge == "br-lab":  # somebody's is theirs to delete
        scene.bed.ovs_vsctl("del-port", _endpoint(scene)["port_name"])
    else:
        scene.bed.ovs_vsctl("del-br", bridge)


_EVENTS: Mapping[str, Callable[[Scene], None]] = {
    "nothing": lambda _: None,
    "restart": _restart,
    "reconnect": _reconnect,
    "lost": _lose,
    "second": _connect_second,
    "change": _change,
    "vswitchd": _kill_vswitchd,
    "killed": lambda scene: scene.bed.restart_plugin(SIGKILL),
    "flushed": _flush,
    "bridge": _delete_bridge,
}


def is_refused(scene: Scene, says: str) -> None:
    """Assert that the network is refused, or else the container, by a sentence."""
    with pytest.raises(CommandError, match=says):
        scene.begin()
