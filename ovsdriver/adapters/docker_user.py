"""Our accept in DOCKER-USER, the chain that Docker leaves to others, of iptables and ip6tables.

Docker's FORWARD chain has the policy DROP where dockerd switched forwarding on itself. It asks
DOCKER-USER first, never removes rules from it, and has it in both families (moby,
daemon/libnetwork/firewall_linux.go; not with its nftables backend). What our table accepted
carries a mark; a rule in DOCKER-USER accepts what carries it, and nothing else changes.

Only the program ``iptables`` knows which of the two kinds of iptables this host uses, and keeps
their locks. It is forked, never where a request waits.
"""

import asyncio
import contextlib
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from ovsdriver.domain.firewall import ACCEPT_MARK
from ovsdriver.errors import UnavailableError

CHAIN = "DOCKER-USER"

PROGRAMS = {4: "iptables", 6: "ip6tables"}

_MARK = f"{ACCEPT_MARK:#x}/{ACCEPT_MARK:#x}"
ACCEPT = ("-m", "mark", "--mark", _MARK, "-j", "ACCEPT")
"""What to add to a chain of iptables to let through what our table accepted."""

_LOCK_S = 5
_TIMEOUT_S = 15.0
_SEARCH = "/usr/sbin:/sbin:/usr/local/sbin:/usr/bin:/bin"
"""A daemon's PATH may lack the sbin folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A chain of iptables, or a whole table, as ``-S`` prints it: one line a rule."""

    lines: tuple[tuple[str, ...], ...]


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
    """Keeps one rule at the head of DOCKER-USER, in each family that has the chain."""

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
        rules = await self._rules(table)
        if rules is None or self._in_place(rules):
            return False
        await self._delete(table, rules)
        return await table.change("-I", CHAIN, *self._rule())

    async def _remove(self, table: Iptables) -> bool:
        rules = await self._rules(table)
        return bool(rules) and await self._delete(table, rules or [])

    async def _delete(self, table: Iptables, rules: Sequence[tuple[str, ...]]) -> bool:
        found = [rule for rule in rules if self._comment in rule]
        # The rule as it is listed, word for word: another version may have written it.
        return any([await table.change("-D", CHAIN, *rule) for rule in found])

    async def _rules(self, table: Iptables) -> list[tuple[str, ...]] | None:
        listing = await table.listing(CHAIN)
        if listing is None:
            return None
        return [line[2:] for line in listing.lines if line[:2] == ("-A", CHAIN)]

    def _in_place(self, rules: Sequence[tuple[str, ...]]) -> bool:
        """Whether our rule is there once, before all rules but those of other instances."""
        ours = [position for position, rule in enumerate(rules) if self._comment in rule]
        if len(ours) != 1 or rules[ours[0]] != self._rule():
            return False
        # Two instances that both insist on the first place would never rest.
        return all(rule[:4] == ACCEPT[:4] for rule in rules[: ours[0]])

    def _rule(self) -> tuple[str, ...]:
        return (*ACCEPT[:4], "-m", "comment", "--comment", self._comment, *ACCEPT[4:])
