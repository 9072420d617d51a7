"""What stands on a bed while faults are done to it: two networks, and two containers that talk."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e import snapshot
from tests.e2e.bed import OUTSIDE4, OUTSIDE_PORT, WAN4, Bed
from tests.e2e.stage import Container, Network, Stage
from tests.e2e.traffic import Place
from tests.e2e.world import until
from tests.faults.agreement import all_agree
from tests.faults.haste import hurried
from tests.faults.inflicted import kill_all_of_docker

NETWORKS = ("one", "two")
ADDRESSES = {"ann": "10.77.1.77", "bob": "10.77.1.78"}
PORTS = {"ann": 8080, "bob": 8081}


@dataclass(frozen=True)
class Lab:
    """Ann and bob on network one, which is dual; users work on it too, and on two."""

    bed: Bed
    one: Network
    ann: Container
    bob: Container

    def talks(self) -> None:
        """Assert that containers reach each other and the outside, and are reached from there."""
        for family in (4, 6):
            self.ann.reaches(self.bob.address(self.one, family), who="bob")
        self.bob.reaches(OUTSIDE4, who=WAN4, port=OUTSIDE_PORT)
        outside = Place(self.bed, "the outside", self.bed.outside)
        for name, port in PORTS.items():
            until(
                lambda port=port, name=name: outside.asks(WAN4, port) == name,
                f"{name}'s port is reached from outside",
            )

    def start_again(self) -> None:
        """Start what dockerd let lie: it forgets restart policies when it was killed."""
        for each in (self.ann, self.bob):
            until(
                lambda name=each.name: self.bed.attempt("docker", "start", name).code == 0,
                f"{each.name} is started again",
            )

    def agrees(self) -> None:
        """Assert that Docker, we, Open vSwitch and the kernel agree about all that is there."""
        with hurried(self.bed):
            all_agree(self.bed)

    def crashed(self, since: int) -> list[str]:
        """Return the lines of our log that show a fault of ours, from a place in it on."""
        said = self.bed.plugin.said()[since:]
        return [line for line in said.splitlines() if "raceback" in line]

    def clear(self) -> None:
        """Remove what users left."""
        listed = self.bed.docker("ps", "--all", "--format", "{{.Names}}").split()
        if users := [name for name in listed if name not in ADDRESSES]:
            self.bed.docker("rm", "--force", *users)
        networks = [each for each in Stage(self.bed).custom_networks() if each not in NETWORKS]
        if networks:
            self.bed.docker("network", "rm", *networks)


@contextmanager
def standing(bed: Bed) -> Iterator[Lab]:
    """Make it on a bed that runs; at the end all must be as before."""
    stage = Stage(bed)
    before = snapshot.take(bed)
    dual = ("--ipv6", "--subnet", "fd00:77:1::/64")
    one = stage.network("one", *dual, subnet="10.77.1.0/24")
    stage.network("two", "--internal", subnet="10.77.2.0/24")
    ann, bob = (
        stage.container(
            name, one, "--restart", "always", "--ip", address, "-p", f"{PORTS[name]}:80"
        )
        for name, address in ADDRESSES.items()
    )
    yield Lab(bed, one, ann, bob)
    stage.clear()
    # its rules, if somebody flushed them, come back with it; the policy that drops what is
    # forwarded only if it is dockerd that switches forwarding on
    bed.dockerd.stop()
    # a container that a killed dockerd has forgotten runs on below its shim
    kill_all_of_docker(bed)
    # and one that is killed while it writes its rules may have a jump of its own twice
    for family in ("ip", "ip6"):
        bed.attempt("nft", "flush", "chain", family, "filter", "FORWARD")
    bed.run("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
    bed.start_docker()
    last: list[str] = []

    def as_before() -> bool:
        last[:] = [snapshot.difference(before, snapshot.take(bed))]
        return not last[0]

    with hurried(bed):
        until(as_before, lambda: f"all is as before\n{last[0]}", timeout_s=60)
