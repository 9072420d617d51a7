"""What a person may ask of access rules."""

from collections.abc import Mapping, Sequence

from ovsdriver.admin import asks, by_name
from ovsdriver.admin.access import report as reports
from ovsdriver.admin.access.views import (
    Access,
    JudgedEnd,
    RulesChanged,
    RulesReport,
    RulesUse,
    RulesUser,
)
from ovsdriver.admin.asks import Answers
from ovsdriver.admin.networks.desk import AdminServices, docker
from ovsdriver.domain.records.options.access import RuleSet
from ovsdriver.domain.wires import desired
from ovsdriver.errors import UnknownObjectError
from ovsdriver.ports import Engine
from ovsdriver.service.access.named_sets import User
from ovsdriver.words import access_words


class AccessDesk:
    """Tells and changes sets of rules, and tells what rules have met."""

    def __init__(self, services: AdminServices, *, engine: Engine) -> None:
        self._services = services
        self._sets = services.rule_sets
        self._engine = engine

    def answers(self) -> Answers:
        """Return what is answered here."""
        return {
            asks.ListRules: self.sets,
            asks.ShowRules: self.show,
            asks.ShowAccess: self.access,
            asks.SetRules: self.put,
            asks.RemoveRules: self.remove,
        }

    async def sets(self, _ask: asks.ListRules) -> tuple[RulesUse, ...]:
        """Return every set, by name."""
        return tuple(self._use(each) for _, each in sorted(self._sets.all().items()))

    async def show(self, ask: asks.ShowRules) -> RulesReport:
        """Return a set, or what the containers have that a name means.

        Raises:
            UnknownObjectError, ConflictError: the name means nothing, or several things.
            UnavailableError: the kernel does not tell what rules have met.
        """
        found = self._sets.all().get(ask.target)
        if found is not None:
            ends = [
                each
                for each in await self._ends()
                if any(rule.said_by == f"rules {found.name}" for rule in each.rules)
            ]
            return RulesReport(set=self._use(found), ends=tuple(ends))
        try:
            meant = by_name.standing(ask.target, self._services.state, await docker(self._engine))
        except UnknownObjectError as error:
            raise UnknownObjectError(
                f"{ask.target!r} is neither rules, a network nor a container; see `ovsnet rules "
                "ls` and `ovsnet endpoint ls`"
            ) from error
        ends = [
            each
            for each in await self._ends()
            if each.network == meant.network and meant.endpoint in (None, each.endpoint)
        ]
        return RulesReport(ends=tuple(ends))

    async def access(self, _ask: asks.ShowAccess) -> Access:
        """Return what holds now; UnavailableError if the kernel does not tell."""
        learnt = await self._services.rules_learnt()
        return Access(
            plan=self._services.access.now(),
            learnt={
                policy: {name: tuple(addresses) for name, addresses in names.items()}
                for policy, names in learnt.items()
            },
        )

    async def put(self, ask: asks.SetRules) -> RulesChanged:
        """Keep a set in the place of one of that name, or what it has and these rules.

        Raises:
            ConflictError, UnsupportedError, UnavailableError: see ``NamedSets.put``.
        """
        allow, deny = access_words.parse(ask.allow), access_words.parse(ask.deny)
        before = self._sets.all().get(ask.name) if ask.add else None
        if before is not None:
            allow = tuple(dict.fromkeys((*before.allow, *allow)))
            deny = tuple(dict.fromkeys((*before.deny, *deny)))
        wanted = RuleSet(name=ask.name, allow=allow, deny=deny)
        pending = await self._sets.put(wanted)
        ends = (await self.show(asks.ShowRules(target=ask.name))).ends
        return RulesChanged(
            set=self._use(wanted),
            containers=tuple(
                RulesUser(
                    network=each.network,
                    network_name=each.network_name,
                    endpoint=each.endpoint,
                    container=each.container,
                )
                for each in ends
            ),
            pending=pending,
        )

    async def remove(self, ask: asks.RemoveRules) -> str:
        """Keep a set no more; errors as ``NamedSets.remove``."""
        await self._sets.remove(ask.name, shown=self._shown)
        return ask.name

    async def _ends(self) -> Sequence[JudgedEnd]:
        state = self._services.state
        plan = self._services.access.now()
        networks = {each.id: each for each in state.networks()}
        ports = {
            each.id: desired.port_options(networks[each.network], each)
            for each in state.endpoints()
            if each.network in networks
        }
        return reports.ends(
            plan,
            ports,
            await self._services.rule_counts(),
            sets=self._sets.all(),
            called=await self._names(),
        )

    async def _names(self) -> Mapping[str, str]:
        """Return names of networks and of endpoints' containers, the youngest as well."""
        names = dict(self._services.called.names())
        view = await docker(self._engine)
        if view is not None:
            names |= {str(key): name for key, name in view.networks.items()}
            names |= {key: each.container for key, each in view.endpoints.items()}
        return names

    def _use(self, found: RuleSet) -> RulesUse:
        return RulesUse(
            name=found.name,
            configured=self._sets.configured(found.name),
            allow=tuple(each.text for each in found.allow),
            deny=tuple(each.text for each in found.deny),
            users=tuple(self._users(found.name)),
        )

    def _users(self, name: str) -> Sequence[RulesUser]:
        called = self._services.called.names()
        return [
            RulesUser(
                network=network.id,
                network_name=called.get(network.id, ""),
                endpoint=None if endpoint is None else endpoint.id,
                container="" if endpoint is None else called.get(endpoint.id, ""),
            )
            for network, endpoint in self._sets.users(name)
        ]

    def _shown(self, user: User) -> str:
        network, endpoint = user
        called = self._services.called.names()
        name = by_name.typed(called.get(network.id, ""), network.id)
        if endpoint is None:
            return name
        return f"{name}/{by_name.typed(called.get(endpoint.id, ''), endpoint.id)}"
