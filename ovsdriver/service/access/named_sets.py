"""Sets of access rules that have a name: of the configuration, and kept by command."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from ovsdriver import codec
from ovsdriver.codec import UnreadableError
from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.domain.plan import access_planning
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.options.access import AccessRule, RuleSet
from ovsdriver.domain.records.options.port_options import PortOptions
from ovsdriver.domain.wires import desired
from ovsdriver.errors import (
    ConflictError,
    InvalidOptionError,
    UnavailableError,
    UnknownObjectError,
    UnsupportedError,
)
from ovsdriver.ports import HostNotes, Journal, State
from ovsdriver.service.aspects.aspect import Aspect, Finding

log = logging.getLogger(__name__)

_PREFIX = "rules:"
"""Of the notes that sets are kept in."""

_TOLD = 10
"""Rules of each kind that an event has."""

User = tuple[Network, Endpoint | None]
"""Who says ``ovs.rules``: a network, or a container on it itself."""


class NamedSets(Aspect):
    """Keeps them, has them followed when one changes, and refuses those that are not there."""

    name = "sets of access rules"
    needs_switch = False

    def __init__(
        self,
        configured: Iterable[RuleSet],
        *,
        notes: HostNotes,
        state: State,
        journal: Journal,
    ) -> None:
        """``configured``: those of the configuration, which no command changes."""
        self._configured = {each.name: each for each in configured}
        self._notes = notes
        self._state = state
        self._journal = journal
        self._kept = _kept(notes.notes())
        self._followers: list[Callable[[], Awaitable[object]]] = []
        self._one = asyncio.Lock()
        for name in sorted(self._kept.keys() & self._configured.keys()):
            log.warning("rules.twice", extra={"rules": name, "why": _twice(name)})

    def all(self) -> Mapping[str, RuleSet]:
        """Return every set by name."""
        return MappingProxyType(self._kept | self._configured)

    def configured(self, name: str) -> bool:
        """Whether a set is the configuration's."""
        return name in self._configured

    def on_change(self, follower: Callable[[], Awaitable[object]]) -> None:
        """Have ``follower`` make what holds as the sets say, whenever one has changed.

        What it raises as a refusal takes the change back; UnavailableError leaves it to repair.
        """
        self._followers.append(follower)

    def users(self, name: str) -> Sequence[User]:
        """Return who says that the set holds, a network before its containers."""
        found: list[User] = []
        for network in self._state.networks():
            if not network.ended and name in network.port.rules:
                found.append((network, None))
            found += [
                (network, each)
                for each in self._state.endpoints(network.id)
                if not each.ended and name in each.port.rules
            ]
        return found

    async def put(self, wanted: RuleSet) -> str:
        """Keep a set in the place of one of its name; return why it is not in force yet, or "".

        Raises:
            ConflictError: the configuration has it.
            UnsupportedError: a network that uses it cannot have such a rule.
            UnavailableError: the store does not answer.
        """
        async with self._one:
            if wanted.name in self._configured:
                raise ConflictError(
                    f"rules {wanted.name}: they are in the configuration, [rules.{wanted.name}]; "
                    "change them there, or choose another name"
                )
            self._refuse_unfit(wanted)
            before = self._kept.get(wanted.name)
            if wanted == before:
                return ""
            await self._keep(wanted.name, wanted)
            try:
                pending = await self._follow()
            except (ConflictError, InvalidOptionError, UnsupportedError):
                await self._keep(wanted.name, before)
                await self._follow()
                raise
            said = {"allow": wanted.allow, "deny": wanted.deny}
            self._tell(wanted.name, "changed", **said)
            return pending

    async def remove(self, name: str, *, shown: Callable[[User], str]) -> None:
        """Keep a set no more.

        Args:
            name: its name.
            shown: says who a user is.

        Raises:
            UnknownObjectError: there is none.
            ConflictError: somebody uses it, or it is the configuration's.
            UnavailableError: the store does not answer.
        """
        async with self._one:
            if name not in self._kept:
                if name in self._configured:
                    raise ConflictError(
                        f"rules {name}: they are in the configuration; remove [rules.{name}] there"
                    )
                raise UnknownObjectError(f"rules {name}: there are none; `ovsnet rules ls`")
            users = [] if name in self._configured else self.users(name)
            if users:
                first = shown(users[0])
                others = f" and {len(users) - 1} more" if users[1:] else ""
                raise ConflictError(
                    f"rules {name}: {first}{others} has ovs.rules={name}; type ovsnet set {first} "
                    "ovs.rules= first"
                )
            await self._keep(name, None)
            self._tell(name, "removed")

    # As an aspect

    async def check(self, network: Network, endpoint: Endpoint) -> None:
        """Refuse what is not there, or cannot be judged there."""
        self._refuse(network, desired.port_options(network, endpoint))

    async def check_network(self, network: Network) -> None:
        """Refuse what is not there, or cannot be judged there."""
        self._refuse(network, network.port)

    async def find(self) -> Sequence[Finding]:
        """Tell of sets that are gone from the configuration and still said: they let nothing by."""
        known = self.all()
        ports = [each.port for each in self._state.networks() if not each.ended]
        ports += [each.port for each in self._state.endpoints() if not each.ended]
        said = {name for port in ports for name in port.rules}
        return [
            Finding(
                what=f"rules {name}: there are none, so whoever has ovs.rules={name} reaches nobody"
            )
            for name in sorted(said - known.keys())
        ]

    def _refuse(self, network: Network, port: PortOptions) -> None:
        known = self.all()
        for name in port.rules:
            if name not in known:
                raise InvalidOptionError(
                    f"ovs.rules={name}: there are no such rules; make them with ovsnet rules set "
                    f"{name} --allow RULE, or leave it out"
                )
            rules = [*known[name].allow, *known[name].deny]
            access_planning.refuse_unknowable(rules, network, port, f"ovs.rules={name}")

    def _refuse_unfit(self, wanted: RuleSet) -> None:
        rules = [*wanted.allow, *wanted.deny]
        for network in self._state.networks():
            if network.ended:
                continue
            ports = [desired.port_options(network, e) for e in self._state.endpoints(network.id)]
            for port in (network.port, *ports):
                if wanted.name in port.rules:
                    option = f"network {network.id[:12]} has ovs.rules={wanted.name}"
                    access_planning.refuse_unknowable(rules, network, port, option)

    def _tell(self, name: str, action: str, **rules: Sequence[AccessRule]) -> None:
        said = {verb: _listed(some) for verb, some in rules.items() if some}
        self._journal.tell(Happening(EventType.RULES, action, attributes={"rules": name} | said))

    async def _keep(self, name: str, wanted: RuleSet | None) -> None:
        if wanted is None:
            await self._notes.forget_note(_PREFIX + name)
            self._kept.pop(name, None)
        else:
            await self._notes.put_note(_PREFIX + name, codec.encode(wanted))
            self._kept[name] = wanted

    async def _follow(self) -> str:
        pending = ""
        for each in self._followers:
            try:
                await each()
            except UnavailableError as error:
                pending = str(error)
        return pending


def _kept(notes: Mapping[str, str]) -> dict[str, RuleSet]:
    found = {}
    for key, text in notes.items():
        if key.startswith(_PREFIX):
            try:
                found[key.removeprefix(_PREFIX)] = codec.decode(RuleSet, text)
            except UnreadableError as error:
                log.warning("rules.unreadable", extra={"rules": key, "why": str(error)})
    return found


def _listed(rules: Sequence[AccessRule]) -> str:
    more = f" and {len(rules) - _TOLD} more" if len(rules) > _TOLD else ""
    return ", ".join(each.text for each in rules[:_TOLD]) + more


def _twice(name: str) -> str:
    return (
        f"rules {name} are in the configuration, which holds, and were kept by command, too; "
        f"remove those with ovsnet rules rm {name}"
    )
