"""Our accept behind DOCKER-USER, the chain that Docker leaves to others, in iptables' FORWARD.

Docker's FORWARD chain has the policy DROP where dockerd switched forwarding on itself. It asks
DOCKER-USER first, and has it in both families (moby, daemon/libnetwork/firewall_linux.go; not with
its nftables backend). What our table accepted carries a mark; a rule behind the jump to DOCKER-USER
accepts what carries it, and nothing else changes. So what an administrator drops there is dropped
for us too, whenever he says so; and what comes back from there, however it does, is accepted.

It stands behind Docker's isolation of its own networks too, which drops only what touches those.
Anywhere behind both, and not right behind: dockerd puts its jumps at the head again now and then,
and what stands in between by then was put before them by an administrator, and binds us as well.

Only the program ``iptables`` knows which of the two kinds of iptables this host uses, and keeps
their locks. It is forked, never where a request waits.
"""

import asyncio
import contextlib
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from ovsdriver.domain.traffic.firewall import ACCEPT_MARK
from ovsdriver.domain.traffic.foreign_chains import DOCKER_USER
from ovsdriver.errors import UnavailableError

FORWARD = "FORWARD"

PROGRAMS = {4: "iptables", 6: "ip6tables"}

_MARK = f"{ACCEPT_MARK:#x}/{ACCEPT_MARK:#x}"
ACCEPT = ("-m", "mark", "--mark", _MARK, "-j", "ACCEPT")
"""What to add to a chain of iptables to let through what our table accepted."""

_ISOLATION = ("DOCKER-ISOLATION-STAGE-1", "DOCKER-FORWARD")
"""Where Docker keeps its networks apart: before engine 28, and since."""

_TRIES = 3

_LOCK_S = 5
_TIMEOUT_S = 15.0
_SEARCH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
"""A daemon's PATH may lack the sbin folders."""


Words = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A chain of iptables, or a whole table, as ``-S`` prints it: one line a rule."""

    lines: tuple[Words, ...]


class Iptables:
    """The iptables of one family, of the namespace of the calling thread."""

    def __init__(self, family: int, *, search: str = _SEARCH) -> None:
        """Choose ``iptables`` (4) or ``ip6tables`` (6), found in one of ``search``'s folders."""
        self.program = PROGRAMS[family]
        self._search = search

    async def shows_nftables(self) -> bool:
        """Whether it is the kind whose rules nftables shows as well."""
        return "nf_tables" in (await self._run("-V"))[1]

    async def listing(self, chain: str = "") -> Listing | None:
        """Return a chain of the filter table, or all of it; None if there is none such."""
        status, output = await self._run("-S", *([chain] if chain else []))
        if status:
            return None
        return Listing(lines=tuple(tuple(shlex.split(line)) for line in output.splitlines()))

    async def change(self, *arguments: str) -> bool:
        """Run one command; False if it was refused, as deleting what is gone is."""
        status, _ = await self._run(*arguments)
        return status == 0

    async def _run(self, *arguments: str) -> tuple[int, str]:
        path = shutil.which(self.program, path=self._search)
        if path is None:
            return 1, ""
        try:
            process = await asyncio.create_subprocess_exec(
                path,
                *("-w", str(_LOCK_S), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={"PATH": _SEARCH, "LC_ALL": "C"},
            )
        except OSError as error:
            raise UnavailableError(f"cannot start {path}: {error.strerror}") from error
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise UnavailableError(
                f"{self.program} {' '.join(arguments)} did not end within {_TIMEOUT_S:g} s; who "
                "holds /run/xtables.lock?"
            ) from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode or 0, output.decode(errors="replace")


class DockerUser:
    """Keeps one rule behind DOCKER-USER, in each family that has the chain."""

    def __init__(self, *, instance: str, tables: Sequence[Iptables]) -> None:
        """Describe it.

        Args:
            instance: written into the rule's comment, by which it is found again.
            tables: one for each family.
        """
        self._comment = f"{instance}: accepted by its nftables table"
        self._tables = tables

    async def ensure(self) -> bool:
        """Put the rule where it belongs, once; False if it was there or there is no chain.

        Raises:
            UnavailableError: iptables does not answer.
        """
        return any([await self._ensure(table) for table in self._tables])

    async def remove(self) -> bool:
        """Remove the rule; False if it was not there.

        Raises:
            UnavailableError: iptables does not answer.
        """
        return any([await self._remove(table) for table in self._tables])

    async def _ensure(self, table: Iptables) -> bool:
        changed = False
        # The place is a number, and others may change the chain before it is used.
        for _ in range(_TRIES):
            user = await _rules(table, DOCKER_USER)
            if user is None:
                break
            steps = placing(await _rules(table, FORWARD) or (), user, comment=self._comment)
            if not steps:
                break
            changed |= any([await table.change(*step) for step in steps])
        return changed

    async def _remove(self, table: Iptables) -> bool:
        found = [
            ("-D", chain, *rule)
            for chain in (FORWARD, DOCKER_USER)
            for rule in await _rules(table, chain) or ()
            if self._comment in rule
        ]
        return any([await table.change(*step) for step in found])


def placing(forward: Sequence[Words], user: Sequence[Words], *, comment: str) -> Sequence[Words]:
    """Return the commands that leave one accept of ours where it belongs. Pure.

    At no moment between them is there none, if there was one.

    Args:
        forward: the rules of FORWARD; without a jump to DOCKER-USER nothing is done until dockerd
            has put it back.
        user: the rules of DOCKER-USER, at whose head earlier versions had theirs.
        comment: by which rules are known as ours.
    """
    place = behind(forward)
    if place is None:
        return ()
    wanted = (*ACCEPT[:4], "-m", "comment", "--comment", comment, *ACCEPT[4:])
    steps: list[Words] = []
    surplus = [rule for rule in forward if comment in rule]
    if wanted in forward[place:]:
        surplus.remove(wanted)
    else:
        steps.append(("-I", FORWARD, str(place + 1), *wanted))
    # Deleted by their words, as other versions may have written others. Of equal rules the first
    # is, so the last one stays, which stands where it belongs.
    steps += [("-D", FORWARD, *rule) for rule in surplus]
    return [*steps, *(("-D", DOCKER_USER, *rule) for rule in user if comment in rule)]


def behind(forward: Sequence[Words]) -> int | None:
    """Return the first position for our accept; None if FORWARD does not ask DOCKER-USER."""
    if _jump(DOCKER_USER) not in forward:
        return None
    jumps = (_jump(name) for name in (DOCKER_USER, *_ISOLATION))
    return 1 + max(forward.index(jump) for jump in jumps if jump in forward)


def _jump(chain: str) -> Words:
    return ("-j", chain)


async def _rules(table: Iptables, chain: str) -> list[Words] | None:
    """Return the rules of a chain, without ``-A`` and its name; None if there is none such."""
    listing = await table.listing(chain)
    if listing is None:
        return None
    return [line[2:] for line in listing.lines if line[:2] == ("-A", chain)]
