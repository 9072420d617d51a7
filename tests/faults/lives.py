"""The life of a network and a container, played again and again with a kill at another point.

In each call of it the process is killed at the first point, then at the second, and so on, until
the call gets to its end. After each kill the process is started again, dockerd goes on as it does,
and then all must be as it was before the call's command.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from tests.faults.played import (
    E26,
    E29,
    Container,
    DiedError,
    FailedError,
    Network,
    PlayedDocker,
    Subnet,
)

MOST_POINTS = 300


@dataclass(frozen=True)
class Scene:
    """A kind of network and of container."""

    subnets: tuple[str, ...] = ("10.78.1.0/24",)
    options: Mapping[str, str] = field(default_factory=dict)
    ipam_options: Mapping[str, str] = field(default_factory=dict)
    internal: bool = False
    ports: tuple[tuple[int, int], ...] = ()
    endpoint: Mapping[str, str] = field(default_factory=dict)
    around: Sequence[Mapping[str, str]] = ()
    """Options of networks that stand all the time, with a container ``near`` on the first."""
    router: bool = False
    """A container ``router`` comes and goes with the network."""


DUAL = ("10.78.1.0/24", "fd00:78:1::/64")

SCENES = {
    "nat": Scene(subnets=DUAL, ports=((8078, 80),)),
    "internal": Scene(internal=True),
    "internal-port": Scene(options={"ovs.port": "internal"}),
    "adopted": Scene(
        options={"ovs.bridge": "br-phys", "ovs.vlan": "30", "ovs.gateway": "10.78.1.9"},
        ipam_options={"ipam.probe": "true"},
        endpoint={"ovs.trunks": "40+41"},
    ),
    "guarded": Scene(subnets=DUAL, options={"ovs.guard": "true", "ovs.rate": "10mbit"}),
    "uplink": Scene(options={"ovs.uplink": "nic0", "ovs.vlan": "30"}, endpoint={"ovs.vlan": "31"}),
    "rules": Scene(
        subnets=DUAL,
        options={"ovs.deny": "10.0.0.0/8 udp, container:near", "ovs.rules": "lab"},
        endpoint={"ovs.allow": "container:near tcp/80, example.com tcp/443, from any icmp"},
        around=({},),
    ),
    "lan": Scene(
        subnets=DUAL,
        options={
            "ovs.mode": "flat",
            "ovs.bridge": "br-leaf",
            "ovs.vlan": "30",
            "ovs.patch": "br-core",
            "ovs.host_address": "10.78.1.250/24,fd00:78:1::250/64",
            "ovs.gateway": "container:router",
            "ovs.routes": "10.51.0.0/16 via 10.78.1.99+fd00:51::/64",
        },
        endpoint={
            "ovs.allow": "container:router, 10.78.1.0/24 tcp, from any icmp",
            "ovs.dscp": "ef",
        },
        around=({"ovs.mode": "flat", "ovs.bridge": "br-core", "ovs.vlan": "40"},),
        router=True,
    ),
}
"""On a host with a bridge ``br-phys`` of somebody else, a NIC ``nic0``, and rules ``lab``."""

WAYS = {
    "docker-goes-on": (E26, False),
    "docker-29-goes-on": (E29, False),
    "docker-died": (E26, True),
}
"""The engine, and whether it is killed with the plugin."""

PHASES = ("create", "start", "stop", "remove")


class Process(Protocol):
    """Ours, which dies where it is told to."""

    @property
    def deaths(self) -> int:
        """How often it has died."""
        ...

    def doom(self, call: str, number: int) -> None:
        """Have it killed at a point of the next such call."""
        ...


class Life:
    """A network and a container: made, started, stopped, removed; each as often as need be."""

    def __init__(self, docker: PlayedDocker, scene: Scene) -> None:
        self._docker = docker
        self._scene = scene
        self._network: Network | None = None
        self._router: Container | None = None
        self._container: Container | None = None
        self.phases: Mapping[str, tuple[Callable[[], None], Callable[[], None]]] = {
            # what is done, and what has to be so before
            "create": (self.create, self.removed),
            "start": (self.start, self.created),
            "stop": (self.stop, self.started),
            "remove": (self.remove, self.created),
        }

    @contextmanager
    def surrounded(self) -> Iterator[None]:
        """Let there be what the scene has around it, as long as the block lasts."""
        made = []
        for number, options in enumerate(self._scene.around):
            subnets = [Subnet(f"10.78.{30 + number}.0/24")]
            made.append(Network(self._docker.new_id(), subnets, options))
            self._docker.create_network(made[-1])
        near = Container("near", made[0]) if made else None
        if near is not None:
            self._docker.start(near)
        yield
        if near is not None:
            self._docker.stop(near)
        for each in made:
            self._docker.remove_network(each)

    @property
    def ids(self) -> tuple[str, str]:
        """Return the ids of network and endpoint, of what is started."""
        assert self._network is not None
        assert self._container is not None
        return self._network.id, self._container.endpoint

    def create(self) -> None:
        """Do ``docker network create``, and start the router, if there is to be one."""
        scene = self._scene
        network = Network(
            self._docker.new_id(),
            [Subnet(each) for each in scene.subnets],
            scene.options,
            scene.ipam_options,
            scene.internal,
        )
        self._docker.create_network(network)
        self._network = network
        if scene.router:
            self._router = Container("router", network)
            try:
                self._docker.start(self._router)
            except FailedError:
                self._router = None
                raise

    def start(self) -> None:
        """Do ``docker run``."""
        assert self._network is not None
        scene = self._scene
        self._container = Container("life", self._network, scene.ports, scene.endpoint)
        try:
            self._docker.start(self._container)
        except FailedError:
            self._container = None
            raise

    def stop(self) -> None:
        """Do ``docker stop``."""
        assert self._container is not None
        self._docker.stop(self._container)
        self._container = None

    def remove(self) -> None:
        """Do ``docker network rm``, when the router is stopped."""
        assert self._network is not None
        if self._router is not None:
            self._docker.stop(self._router)
            self._router = None
        self._docker.remove_network(self._network)
        self._network = None

    def removed(self) -> None:
        """Let there be nothing."""
        if self._container is not None:
            self.stop()
        if self._network is not None:
            self.remove()

    def created(self) -> None:
        """Let there be the network, and no container."""
        if self._container is not None:
            self.stop()
        if self._network is None:
            self.create()

    def started(self) -> None:
        """Let there be both."""
        self.created()
        self.start()

    def settled(self, phase: str) -> None:
        """Let there be what a phase leaves when it came to nothing, or to its end."""
        if phase in ("create", "remove"):
            self.removed()
        else:
            self.created()

    def docker_comes_back(self, phase: str) -> None:
        """Do what a dockerd does that was killed in a phase."""
        if phase in ("start", "stop") and self._container is not None:
            self._docker.lose(self._container)
            self._container = None
        if phase in ("create", "remove") and self._router is not None:
            self._docker.lose(self._router)
            self._router = None
        if phase == "remove":
            self.remove()

    def calls(self, phase: str) -> list[str]:
        """Play a phase undisturbed, and return the calls that were made."""
        do, prepare = self.phases[phase]
        prepare()
        made: list[str] = []
        self._docker.before = made.append
        do()
        self._docker.before = lambda _: None
        return made


def play(
    life: Life,
    docker: PlayedDocker,
    process: Process,
    phase: str,
    *,
    dies: bool,
    every: int,
    shift: int = 0,
    reference: Callable[[], None],
    as_it_was: Callable[[str, str], None],
) -> int:
    """Play a phase with a kill at every point of its calls; return how many there were.

    Args:
        life: whose phase it is.
        docker: that plays it.
        process: that is killed.
        phase: of the life.
        dies: dockerd is killed with it.
        every: of the points of a call, beginning with another one in each call.
        shift: and with another one still.
        reference: called once, to keep how all is before.
        as_it_was: called after each kill, with the call and words for it, to assert that all is so
            again.
    """
    do, prepare = life.phases[phase]
    calls = life.calls(phase)
    life.settled(phase)
    reference()
    kills = 0
    for place, call in enumerate(calls):
        for number in range(1 + (place + shift) % every, MOST_POINTS, every):
            prepare()
            docker.mortal = dies
            died = _with_a_kill(docker, process, do, place, (call, number))
            docker.mortal = False
            if not died:
                break
            if dies:
                life.docker_comes_back(phase)
            # where dockerd got over it, the user takes it back
            life.settled(phase)
            kills += 1
            as_it_was(call, f"killed in {call}, call {place} to {phase}, at point {number}")
    life.removed()
    return kills


def _with_a_kill(
    docker: PlayedDocker,
    process: Process,
    do: Callable[[], None],
    place: int,
    at: tuple[str, int],
) -> bool:
    """Do something with a kill at a point of its call number ``place``; False if it never came."""
    made = 0

    def before(_: str) -> None:
        nonlocal made
        if made == place:
            process.doom(*at)
        made += 1

    docker.before = before
    deaths = process.deaths
    with suppress(FailedError, DiedError):
        do()
    docker.before = lambda _: None
    return process.deaths > deaths
