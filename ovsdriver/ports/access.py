"""Who keeps access rules past gateways."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from netaddr import IPAddress

from ovsdriver.domain.access.policy import AccessPlan
from ovsdriver.domain.records.options.access import Side


class Verdict(StrEnum):
    """What became of packets."""

    DENIED = "denied"
    ALLOWED = "allowed"
    CLOSED = "closed"
    """Dropped, because the side has an ``allow`` and none was about them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessCount:
    """What one rule has met, of all containers of a policy and in both directions."""

    policy: str
    """Key of the policy."""
    side: Side
    verdict: Verdict
    rule: str = ""
    """As ``Reach.rule``; empty with :attr:`Verdict.CLOSED`."""
    packets: int = 0
    octets: int = 0


class AccessFirewall(Protocol):
    """Keeps rules between a container and what is behind its gateway, the host itself included.

    It only ever drops. Every packet is judged by the connection that it belongs to, so what a plan
    forbids is cut at once. What is kept outlasts this process.
    """

    async def apply(self, plan: AccessPlan) -> bool:
        """Keep exactly ``plan``, of its members with a gateway; False if it was so already.

        From one plan to the next in one step, so that no packet is judged by half of one. Counts of
        rules that stay, and addresses that were learnt for policies that stay, are kept, unless
        somebody has removed them.
        """
        ...

    async def differs(self, plan: AccessPlan) -> bool:
        """Whether :meth:`apply` would change anything; changes nothing."""
        ...

    async def learn(
        self, policy: str, names: Collection[str], addresses: Mapping[IPAddress, int]
    ) -> None:
        """Have rules about names hold for addresses, for so many seconds each, from now on.

        Or a little longer. Done when the kernel has them; known ones stay for the longer of both
        times. A policy that
        is not kept (any more), or has none of the names: nothing happens.

        Args:
            policy: key of the policy that asked.
            names: those of ``Reach.names``, as they stand there, that the addresses belong to.
            addresses: with seconds, at least 1.

        Raises:
            UnavailableError: the kernel has no more room for addresses of this policy.
        """
        ...

    async def learnt(self) -> Mapping[str, Mapping[str, Mapping[IPAddress, int]]]:
        """Return addresses that rules about names hold for, with the seconds that are left.

        By key of the policy and name, also what an earlier process had learnt.
        """
        ...

    async def answered(self) -> Collection[tuple[IPAddress, IPAddress]]:
        """Return pairs of who began a connection of TCP or UDP that lives, and who has answered.

        Of this host's connections with the outside, and of containers'; a hundred thousand at most.
        """
        ...

    async def counts(self) -> Sequence[AccessCount]:
        """Return what every rule has met since it was made, by policy and side as it is judged."""
        ...

    async def remove(self) -> None:
        """Keep nothing, and leave nothing behind; again: nothing happens."""
        ...

    def on_loss(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the loop when someone else may have changed what is kept."""
        ...
