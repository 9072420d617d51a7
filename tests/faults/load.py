"""Users who start, stop and connect containers, and make and remove networks, all at once."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Event, Thread
from types import TracebackType
from typing import Self

from tests.e2e import image
from tests.e2e.bed import Bed
from tests.e2e.world import Result
from tests.faults.inflicted import SLOW

KINDS = ("--driver", "ovsnet", "--ipam-driver", "ovsipam")

TIMEOUT_S = 180
"""For one command: dockerd tries each of a container's calls for 15 s before it goes on."""

ALWAYS = (
    "No such container",  # removed by its own restart policy's end, or by a daemon that was killed
    "is not running",
    "is already in progress",
    "is not connected to",  # what failed before cannot be undone
    "already exists in network",
    "is marked for removal",  # so is one whose daemon was killed while it removed it
    "is restarting, wait until",
)
"""What is no fault of ours, from somebody who does not look before he types."""


@dataclass(slots=True)
class Log:
    """What was done, and what failed."""

    done: int = 0
    refused: list[str] = field(default_factory=list)
    """Command and text, of what was refused; what nobody can help is not noted."""

    def note(self, command: Sequence[str], result: Result) -> None:
        self.done += 1
        if result.code and not any(each in result.err for each in ALWAYS):
            self.refused.append(f"docker {' '.join(command)}: {result.code} {result.err}")

    def beside(self, permitted: str) -> list[str]:
        """Return what was refused with other words than those of a pattern."""
        permitted = f"{permitted}|{SLOW}" if permitted else SLOW
        return [each for each in self.refused if not re.search(permitted, each)]


class User:
    """Somebody with a few containers and a network of his own, who chooses by ``choose``."""

    def __init__(self, bed: Bed, name: str, networks: Sequence[str], choose: Random) -> None:
        self._bed = bed
        self._name = name
        self._networks = networks
        self._choose = choose
        self._containers: dict[str, bool] = {}
        """Whether each runs, as far as the user knows."""
        self._own = ""
        self._number = 0
        self.log = Log()

    def act(self) -> None:
        """Do one thing."""
        ways: list[Callable[[], None]] = [self._run]
        if len(self._containers) >= 3:
            ways = [self._remove]
        elif self._containers:
            ways += [self._remove, self._stop, self._start, self._restart]
            ways += [self._connect, self._disconnect, self._own_network]
        self._choose.choice(ways)()

    def _docker(self, *command: str) -> bool:
        """Return whether it was done, or there is nothing any more to do it to."""
        result = self._bed.attempt("docker", *command, timeout_s=TIMEOUT_S)
        self.log.note(command, result)
        return result.code == 0 or "No such" in result.err

    def _some(self) -> str:
        return self._choose.choice(sorted(self._containers))

    def _run(self) -> None:
        self._number += 1
        name = f"{self._name}-{self._number}"
        network = self._choose.choice([*self._networks, *filter(None, [self._own])])
        options = self._choose.choice([(), ("--restart", "always"), ("--dns", "192.0.2.53")])
        what = ("--detach", "--name", name, "--hostname", name, "--stop-signal", "SIGKILL")
        self._containers[name] = self._docker(
            "run", *what, "--network", network, *options, image.NAME, "sh", "-c", image.SERVE
        )

    def _remove(self) -> None:
        name = self._some()
        if self._docker("rm", "--force", name):
            del self._containers[name]

    def _stop(self) -> None:
        name = self._some()
        self._docker("stop", name)
        self._containers[name] = False

    def _start(self) -> None:
        name = self._some()
        self._containers[name] = self._docker("start", name)

    def _restart(self) -> None:
        self._docker("restart", "--time", "0", self._some())

    def _connect(self) -> None:
        self._docker("network", "connect", self._choose.choice(self._networks), self._some())

    def _disconnect(self) -> None:
        self._docker("network", "disconnect", self._choose.choice(self._networks), self._some())

    def create_own(self) -> str:
        """Make a network and return its name; nothing if that failed."""
        self._number += 1
        name = f"{self._name}-n{self._number}"
        return name if self._docker("network", "create", *KINDS, name) else ""

    def _own_network(self) -> None:
        """Make a network, or remove it with all that is on it."""
        if not self._own:
            self._own = self.create_own()
            return
        if self._containers and not self._docker("rm", "--force", *self._containers):
            return
        self._containers.clear()
        if self._docker("network", "rm", self._own):
            self._own = ""


class Load:
    """Users at work inside of the ``with`` block."""

    def __init__(
        self,
        bed: Bed,
        networks: Sequence[str],
        *,
        seed: int,
        users: int = 3,
        name: str = "u",
        kind: type[User] = User,
    ) -> None:
        choose = Random(seed)  # noqa: S311 - the same again for the same seed
        self._users = [
            kind(bed, f"{name}{number}", networks, Random(choose.random()))  # noqa: S311
            for number in range(users)
        ]
        self._ended = Event()
        self._threads = [Thread(target=self._work, args=(user,)) for user in self._users]
        self._crashed: list[BaseException] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if self._crashed and error is None:
            raise self._crashed[0]

    @property
    def done(self) -> int:
        """How many commands have ended."""
        return sum(user.log.done for user in self._users)

    def refused(self, permitted: str = "") -> list[str]:
        """Return the commands that were refused with other words than the permitted pattern's."""
        return [each for user in self._users for each in user.log.beside(permitted)]

    def _work(self, user: User) -> None:
        try:
            while not self._ended.is_set():
                user.act()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._crashed.append(error)
