"""Networks on a segment, one for each host, and a container on each."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.e2e import image
from tests.e2e.stage import Container, Network, Stage

SUBNET4 = "10.50.0.0/24"
SUBNET6 = "fd00:50::/64"


def on(segment: str) -> tuple[str, ...]:
    """Return what ``docker network create`` is told for a network on a segment."""
    return ("-o", f"ovs.segment={segment}", "--ipam-opt", f"ipam.segment={segment}")


def made(
    stages: Sequence[Stage],
    segment: str,
    *options: str,
    subnet4: str = SUBNET4,
    subnet6: str = "",
    by_all: bool = False,
) -> list[Network]:
    """Create a network of the segment's name on each host.

    Only the first says the subnets, or all do; Docker takes ``--ip`` only where they were said.
    """
    families = ("--ipv6",) if subnet6 else ()
    said = (*on(segment), *families, *options)
    sixth = ("--subnet", subnet6) if subnet6 else ()
    return [
        stage.network(segment, *said, *sixth, subnet=subnet4)
        if stage is stages[0] or by_all
        else stage.network(segment, *said)
        for stage in stages
    ]


def peopled(
    stages: Sequence[Stage],
    networks: Sequence[Network],
    *options: str,
    prefix: str = "",
    command: str = image.SERVE,
) -> list[Container]:
    """Run a container on each host at the same time: ``ann1`` on the first, and so on."""
    kind = prefix or networks[0].name

    def run(number: int) -> Container:
        name = f"{kind}{number + 1}"
        return stages[number].container(name, networks[number], *options, command=command)

    with ThreadPoolExecutor(len(networks)) as pool:
        return list(pool.map(run, range(len(networks))))


def all_reach_each_other(
    containers: Sequence[Container], network: str, families: Sequence[int] = (4,)
) -> None:
    """Assert that each reaches each other one on a network, by ping and TCP."""
    for client in containers:
        for server in containers:
            if server is not client:
                for family in families:
                    client.reaches(server.address(network, family), who=server.name)
