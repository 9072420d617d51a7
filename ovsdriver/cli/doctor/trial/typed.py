"""The whole way: networks and containers by the command ``docker``.

What talks is still this process, with sockets in the containers' namespaces: the image needs no
program but one that stays.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from netaddr import EUI, IPAddress, IPNetwork

from ovsdriver.cli.doctor.trial import left
from ovsdriver.cli.doctor.trial.rooms import PREFIX, Room
from ovsdriver.cli.doctor.trial.stage import (
    IPAM_OPTIONS,
    NETWORK_OPTIONS,
    Container,
    Network,
    RefusedError,
    Subnet,
    on_free_subnets,
)
from ovsdriver.config import Settings

_TIMEOUT_S = 120.0
_LABEL = "ovsnet-test"
"""On every network and container of a trial."""
_SERVER = "127.0.0.11"
"""Where dockerd answers for names, inside of each container."""
_LINK = "eth0"


class TypedDocker:
    """A :class:`Stage` that types ``docker``."""

    def __init__(self, settings: Settings, image: str) -> None:
        """``image``: of the containers; its program has to stay, as a shell at a terminal does."""
        self._settings = settings
        self._image = image

    def network(self, name: str, *, families: Sequence[int]) -> Network:
        def made(chosen: Sequence[IPNetwork]) -> Network:
            found = self._docker(
                *("network", "create", "--driver", "ovsnet", "--ipam-driver", "ovsipam"),
                *("--label", _LABEL, *(("--ipv6",) if 6 in families else ())),
                *chain.from_iterable(("--subnet", str(each)) for each in chosen),
                *_pairs("--opt", NETWORK_OPTIONS),
                *_pairs("--ipam-opt", IPAM_OPTIONS),
                f"{PREFIX}{name}",
            )
            given = [Subnet(cidr=each, gateway=IPAddress(each.first + 1)) for each in chosen]
            return Network(id=found, name=f"{PREFIX}{name}", subnets=given)

        return on_free_subnets(families, made)

    def container(
        self,
        name: str,
        network: Network,
        *,
        options: Mapping[str, str] | None = None,
        ports: Mapping[int, int] | None = None,
    ) -> Container:
        place = ",".join(
            (f"name={network.name}", *(f"driver-opt={k}={v}" for k, v in (options or {}).items()))
        )
        published = {str(outer): str(inner) for outer, inner in (ports or {}).items()}
        named = f"{PREFIX}{name}"
        try:
            self._docker(
                *("run", "--detach", "--interactive", "--tty", "--label", _LABEL),
                *("--name", named, "--network", place),
                *_pairs("--publish", published, between=":"),
                self._image,
            )
            found = self._running(named)
        except RefusedError:
            self._forget(named)
            raise
        here = found["NetworkSettings"]["Networks"][network.name]
        addresses = [
            IPNetwork(f"{here[address]}/{here[length]}")
            for address, length in (
                ("IPAddress", "IPPrefixLen"),
                ("GlobalIPv6Address", "GlobalIPv6PrefixLen"),
            )
            if here[address]
        ]
        return Container(
            name=named,
            network=network,
            room=Room(f"/proc/{found['State']['Pid']}/ns/net"),
            link=_LINK,
            mac=EUI(here["MacAddress"]),
            addresses=addresses,
            endpoint=here["EndpointID"],
        )

    def remove(self, container: Container) -> None:
        self._forget(container.name)

    def clear(self) -> None:
        label = ("--quiet", "--filter", f"label={_LABEL}")
        if containers := self._docker("ps", "--all", *label).split():
            self._docker("rm", "--force", *containers)
        if networks := self._docker("network", "ls", *label).split():
            self._docker("network", "rm", *networks)
        left.remove_pools(self._settings)

    @property
    def name_server(self) -> str:
        return _SERVER

    def _forget(self, name: str) -> None:
        self._docker("rm", "--force", name)

    def _running(self, name: str) -> Any:
        """Return what Docker tells of a container; RefusedError if it has ended."""
        found = json.loads(self._docker("inspect", name))[0]
        if not found["State"]["Running"]:
            raise RefusedError(
                f"a container of {self._image} ended at once; name an image whose program stays, "
                "as a shell or a server does"
            )
        return found

    def _docker(self, *words: str) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - no shell; nothing of it is anybody's text
                ("docker", *words),  # noqa: S607 - the user's own docker
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError as error:
            raise RefusedError("there is no command `docker` here") from error
        except subprocess.TimeoutExpired as error:
            raise RefusedError(f"docker {words[0]} did not end in {_TIMEOUT_S:g} s") from error
        if done.returncode:
            raise RefusedError(done.stderr.strip() or f"docker {words[0]} failed")
        return done.stdout.strip()


def _pairs(flag: str, values: Mapping[str, str], between: str = "=") -> list[str]:
    return list(chain.from_iterable((flag, f"{k}{between}{v}") for k, v in values.items()))
