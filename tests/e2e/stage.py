"""What one test makes with Docker, and its removal afterwards."""

from ipaddress import ip_network
from typing import Any

from tests.e2e import image
from tests.e2e.bed import Bed
from tests.e2e.traffic import Place


class Network:
    """A Docker network."""

    def __init__(self, bed: Bed, name: str) -> None:
        self._bed = bed
        self.name = name
        self.id: str = self.inspect()["Id"]

    def inspect(self) -> Any:
        """Return ``docker network inspect``."""
        return self._bed.inspect("network", "inspect", self.name)

    def subnet(self, family: int = 4) -> str:
        """Return the first subnet of a family."""
        return next(
            s["Subnet"] for s in self._configured() if (":" in s["Subnet"]) == (family == 6)
        )

    def gateway(self, family: int = 4) -> str:
        """Return the first gateway of a family, without prefix length.

        Docker does not show one that the user did not type; all IPAMs here then take the lowest.
        """
        configured = next(s for s in self._configured() if s["Subnet"] == self.subnet(family))
        lowest = str(ip_network(configured["Subnet"])[1])
        return configured.get("Gateway", lowest).partition("/")[0]

    def _configured(self) -> list[dict[str, str]]:
        configured: list[dict[str, str]] = self.inspect()["IPAM"]["Config"]
        return configured


class Container(Place):
    """A container that serves its name over HTTP, unless it was told to run something else."""

    def __init__(self, bed: Bed, name: str) -> None:
        super().__init__(bed, name)
        self._bed = bed

    @property
    def netns(self) -> str:
        """Path of its namespace now; a restart makes a new one."""
        return f"/proc/{self.pid}/ns/net"

    @property
    def pid(self) -> int:
        """The pid of its first process, as seen inside of the world."""
        pid = int(self.inspect()["State"]["Pid"])
        assert pid, f"{self.name} does not run"
        return pid

    @property
    def running(self) -> bool:
        """Whether Docker says so."""
        return bool(self.inspect()["State"]["Running"])

    def inspect(self) -> Any:
        """Return ``docker inspect``."""
        return self._bed.inspect("inspect", self.name)

    def endpoint(self, network: Network | str) -> Any:
        """Return Docker's settings of this container on a network."""
        name = network if isinstance(network, str) else network.name
        return self.inspect()["NetworkSettings"]["Networks"][name]

    def address(self, network: Network | str, family: int = 4) -> str:
        """Return its address on a network, without prefix length; empty if it has none."""
        return str(self.endpoint(network)["IPAddress" if family == 4 else "GlobalIPv6Address"])

    def execute(self, *command: str) -> str:
        """Run a command in it with ``docker exec``."""
        return self._bed.docker("exec", self.name, *command)


class Stage:
    """Makes networks and containers on a bed, and takes all down that is there at the end."""

    def __init__(self, bed: Bed) -> None:
        self.bed = bed

    def network(
        self,
        name: str,
        *options: str,
        subnet: str | None = None,
        driver: str = "ovsnet",
        ipam: str = "ovsipam",
    ) -> Network:
        """Create a network as ``docker network create`` does."""
        subnets = ("--subnet", subnet) if subnet else ()
        kinds = ("--driver", driver, "--ipam-driver", ipam)
        self.bed.docker("network", "create", *kinds, *subnets, *options, name)
        return Network(self.bed, name)

    def container(
        self, name: str, network: Network | str, *options: str, command: str = image.SERVE
    ) -> Container:
        """Run a container in the background, its name being its host name too."""
        self.bed.docker(*self.run_command(name, network, *options, command=command))
        return Container(self.bed, name)

    def run_command(
        self, name: str, network: Network | str, *options: str, command: str = image.SERVE
    ) -> tuple[str, ...]:
        """Return the arguments of ``docker`` that run a container.

        Its first process ignores SIGTERM, as first processes do, so it is stopped by SIGKILL.
        """
        named = ("--name", name, "--hostname", name, "--stop-signal", "SIGKILL")
        where = ("--network", network if isinstance(network, str) else network.name)
        return ("run", "--detach", *named, *where, *options, image.NAME, "sh", "-c", command)

    def clear(self) -> None:
        """Remove every container and every network but Docker's own, as a user would."""
        if containers := self.bed.docker("ps", "--all", "--quiet").split():
            self.bed.docker("rm", "--force", *containers)
        if networks := self.custom_networks():
            self.bed.docker("network", "rm", *networks)

    def custom_networks(self) -> list[str]:
        """Return the names of the networks that users made."""
        listed = ("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}")
        return self.bed.docker(*listed).split()
