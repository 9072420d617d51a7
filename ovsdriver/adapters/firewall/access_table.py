"""The nftables table of access rules: changed by difference, compared with what stands.

Where nobody else has touched it, only what comes and goes is written, whatever else there is: a
container is some elements, a policy its own chains and sets. Everything in one transaction. All of
it belongs on the thread that ``Nft`` belongs to.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence

from netaddr import IPAddress

from ovsdriver.adapters.firewall import access_rules
from ovsdriver.adapters.firewall.access_rules import OUTSIDE, Kind, commented
from ovsdriver.adapters.firewall.access_shape import Element, Shape, difference, printed, text
from ovsdriver.adapters.firewall.expressions import Object
from ovsdriver.adapters.firewall.nft import Nft, NftError, is_absent
from ovsdriver.domain.access.policy import AccessPlan, Member, Policy
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.domain.records.options.access import Side
from ovsdriver.ports import AccessCount, Verdict

_LONGER = 4
"""Addresses are kept a quarter longer than asked: not each answer is a transaction."""


class AccessTable:
    """A table of family ``inet``; absent while no container has rules."""

    def __init__(self, nft: Nft, name: str) -> None:
        self._nft = nft
        self._name = name
        self._where = {"family": "inet", "name": name}
        self._made = _Made()
        self._until: dict[str, dict[str, float]] = {}
        """How long addresses stay, on the monotonic clock, by set."""
        self._spelt: dict[str, tuple[str, str]] = {}
        """Rules of a chain as they were rendered and as they were printed, where that differs."""

    def ensure(
        self,
        plan: AccessPlan,
        *,
        outside: frozenset[str],
        trusted: bool = False,
        spare: bool = False,
    ) -> bool:
        """Keep exactly ``plan``.

        Args:
            plan: as ``AccessFirewall.apply`` has it.
            outside: Linux bridges that do not lead to other containers.
            trusted: nobody else has changed the table since the last call.
            spare: policies without a member, and a table without one, are left.

        Returns:
            False if it was so already.

        Raises:
            NftError: refused; the table is as it was.
        """
        wanted = _Made.of(plan, outside, self._made, spare=spare)
        if trusted:
            try:
                return self._follow(wanted)
            except NftError:
                pass  # not as it was thought to be: look
        if not wanted.policies:
            return self.remove()
        whole, standing = wanted.shape(self._name), self._standing()
        commands: list[Object] | None = None
        if standing is not None:
            commands = self._difference(standing, whole)
        elif not wanted.members:
            self._made = _Made()
            return False
        if commands is None:
            commands = self._anew(whole)
        if commands:
            self._nft.run(commands)
            self._spell(whole)
        self._made = wanted
        return bool(commands)

    def stands(self, plan: AccessPlan, *, outside: frozenset[str]) -> bool:
        """Whether :meth:`ensure` has nothing to do."""
        wanted = _Made.of(plan, outside, self._made, spare=True)
        standing = self._standing()
        if standing is None or not wanted.policies:
            return not wanted.members and standing is None
        return self._difference(standing, wanted.shape(self._name)) == []

    def learn(
        self, policy: str, names: Collection[str], addresses: Mapping[IPAddress, int]
    ) -> None:
        """Put addresses into the sets of a policy's names."""
        held = self._made.policies.get(policy)
        if held is None:
            return
        commands: list[Object] = []
        staying: dict[str, dict[str, float]] = {}
        now = time.monotonic()
        for each in access_rules.name_sets(held):
            rule = next((rule for name, rule in each.rules.items() if name in names), None)
            if rule is None:
                continue
            until = {
                address: end for address, end in self._until.get(each.name, {}).items() if end > now
            }
            elements = []
            for address, seconds in addresses.items():
                written = str(address)
                if address.version == each.family and until.get(written, 0) < now + seconds:
                    kept = seconds + seconds // _LONGER + 1
                    until[written] = now + kept
                    elements.append(access_rules.learnt(written, rule, kept))
            staying[each.name] = until
            commands += self._renewal(each.name, elements)
        if commands:
            self._nft.run(commands)
            self._until |= staying

    def learnt(self) -> Mapping[str, Mapping[str, Mapping[IPAddress, int]]]:
        """Return the addresses in the sets of names, by policy and name, with seconds left."""
        listed = self._list(self._nft) or []
        elements = {
            each["set"]["name"]: each["set"].get("elem", ()) for each in listed if "set" in each
        }
        found: dict[str, dict[str, dict[IPAddress, int]]] = {}
        for key, policy in self._made.policies.items():
            for each in access_rules.name_sets(policy):
                for element in elements.get(each.name, ()):
                    inner = element["elem"]
                    for name, rule in each.rules.items():
                        if commented(rule) == inner.get("comment"):
                            held = found.setdefault(key, {}).setdefault(name, {})
                            held[IPAddress(inner["val"])] = inner.get("expires", 1)
        return found

    def counts(self) -> Sequence[AccessCount]:
        """Return what the counters say, of all rules of the policies that are kept."""
        found: dict[tuple[str, Side, Verdict, str], list[int]] = {}
        full: dict[tuple[str, str], str] = {}
        places: dict[str, tuple[str, access_rules.Counted]] = {}
        for key, policy in self._made.policies.items():
            for side, verdict, rule in access_rules.rules(policy):
                found[key, side, verdict, rule] = [0, 0]
                full[key, commented(rule)] = rule
            counted = access_rules.counted(policy)
            places.update((name, (key, counts)) for name, counts in counted.items())
        for name, rule, packets, octets in self._counters() if found else ():
            if name in places:
                key, counts = places[name]
                told = full.get((key, rule), rule)
                sums = found.setdefault((key, counts.side, counts.verdict, told), [0, 0])
                sums[0] += packets
                sums[1] += octets
        return [
            AccessCount(
                policy=policy, side=side, verdict=verdict, rule=rule, packets=packets, octets=octets
            )
            for (policy, side, verdict, rule), (packets, octets) in found.items()
        ]

    def remove(self) -> bool:
        """Delete the table; False if it is not there."""
        self._made, self._until, self._spelt = _Made(), {}, {}
        if self._standing() is None:
            return False
        self._nft.run(self._deletion())
        return True

    def _follow(self, wanted: "_Made") -> bool:
        """Write what is different from what was made last."""
        made = self._made
        commands: list[Object] | None
        if not wanted.policies:
            commands = self._deletion() if made.policies else []
        elif not made.policies:
            commands = self._anew(wanted.shape(self._name))
        else:
            commands = difference(*made.apart_from(wanted, self._name), table=self._name)
        if commands is None:
            raise NftError("a set has another definition under its name")
        if commands:
            self._nft.run(commands)
        for key in made.policies.keys() - wanted.policies.keys():
            for each in access_rules.name_sets(made.policies[key]):
                self._until.pop(each.name, None)
        self._made = wanted
        return bool(commands)

    def _difference(self, standing: Shape, wanted: Shape) -> list[Object] | None:
        """Return commands from what stands, as it is printed, to what is wanted."""
        for chain, (rendered, words) in self._spelt.items():
            rules = wanted.rules.get(chain)
            if text(rules) == rendered and text(standing.rules.get(chain)) == words:
                standing.rules[chain] = rules or []
        return difference(standing, wanted, table=self._name)

    def _spell(self, wanted: Shape) -> None:
        """Note how rules are printed that were just written."""
        standing = self._standing()
        found = standing.rules if standing is not None else {}
        self._spelt = {
            chain: (text(rules), text(found[chain]))
            for chain, rules in wanted.rules.items()
            if chain in found and found[chain] != rules
        }

    def _anew(self, whole: Shape) -> list[Object]:
        """Return commands that make the table, whatever stands; what was learnt is not in it."""
        self._until = {}
        made = difference(Shape(), whole, table=self._name) or []
        return [*self._deletion(), {"add": {"table": self._where}}, *made]

    def _renewal(self, name: str, elements: Sequence[Element]) -> Iterator[Object]:
        """Yield commands that add elements with their new time, whether they are there or not.

        Adding what is there changes nothing, its time neither, and deleting needs that it is there.
        """
        if elements:
            keys = [each["elem"]["val"] for each in elements]
            yield self._add(name, keys)
            yield {"delete": {"element": {**self._in(name), "elem": keys}}}
            yield self._add(name, elements)

    def _add(self, name: str, elements: Sequence[Element]) -> Object:
        return {"add": {"element": {**self._in(name), "elem": list(elements)}}}

    def _in(self, name: str) -> Object:
        return {"family": "inet", "table": self._name, "name": name}

    def _deletion(self) -> list[Object]:
        # as in Table: together they delete what may or may not be
        return [{"add": {"table": self._where}}, {"delete": {"table": self._where}}]

    def _standing(self) -> Shape | None:
        listed = self._list(self._nft)
        return None if listed is None else printed(listed)

    def _list(self, nft: Nft) -> list[Object] | None:
        try:
            listed = nft.run([{"list": {"table": self._where}}])
        except NftError as error:
            if is_absent(error):
                return None
            raise
        return [each for each in listed if "table" not in each]

    def _counters(self) -> Iterator[tuple[str, str, int, int]]:
        """Yield a set or chain, what stands beside a counter of it, packets and bytes."""
        nft = Nft(counting=True)
        try:
            listed = self._list(nft) or []
        finally:
            nft.close()
        for each in listed:
            described = each.get("set", {})
            for element in described.get("elem", ()):
                inner = element.get("elem", {}) if isinstance(element, dict) else {}
                if counter := inner.get("counter"):
                    comment = inner.get("comment", "")
                    yield described["name"], comment, counter["packets"], counter["bytes"]
            rule = each.get("rule", {})
            for expression in rule.get("expr", ()):
                if counter := expression.get("counter"):
                    yield rule["chain"], "", counter["packets"], counter["bytes"]


class _Made:
    """What a table is made of."""

    def __init__(
        self,
        policies: Mapping[str, Policy] | None = None,
        members: Mapping[EndpointId, Member] | None = None,
        names: tuple[int, tuple[IPAddress, ...]] = (0, ()),
        outside: frozenset[str] = frozenset(),
        earlier: "_Made | None" = None,
    ) -> None:
        """``earlier``: knows the kinds of policies that it has, too."""
        self.policies = policies or {}
        self.members = members or {}
        self._outside = outside
        known: Mapping[str, Kind] = earlier._kinds if earlier is not None else {}
        self._kinds: Mapping[str, Kind] = {
            key: known.get(key) or Kind.of(policy) for key, policy in self.policies.items()
        }
        asking = any(each.asks_names for each in self._kinds.values())
        judged = frozenset(place for each in self._kinds.values() for place in each.judged)
        self._frame = (judged, asking, *(names if asking else (0, ())))

    @classmethod
    def of(
        cls, plan: AccessPlan, outside: frozenset[str], earlier: "_Made", *, spare: bool = False
    ) -> "_Made":
        """Return what of a plan is ours: members with a gateway, and their policies.

        With ``spare`` also policies of ``earlier`` that nobody needs any more.
        """
        members = {each.endpoint: each for each in plan.members if each.gateway}
        used = {each.policy for each in members.values()}
        policies = {each.key: each for each in plan.policies if each.key in used}
        if spare:
            policies = {**earlier.policies, **policies}
        return cls(policies, members, (plan.names_port, plan.names_at), outside, earlier)

    def shape(self, table: str) -> Shape:
        """Return the whole of it."""
        found = self._skeleton(table)
        for policy in self.policies.values():
            found.join(access_rules.of_policy(policy, table))
        found.elements[OUTSIDE] = self._bridges()
        self._put(found, self.members.values())
        return found

    def apart_from(self, after: "_Made", table: str) -> tuple[Shape, Shape]:
        """Return those parts of both that are not the same in both."""
        here, there = Shape(), Shape()
        if self._frame != after._frame:
            here, there = self._skeleton(table), after._skeleton(table)
        changed = [
            made.members[endpoint]
            for endpoint in self.members.keys() | after.members.keys()
            if self.members.get(endpoint) != after.members.get(endpoint)
            for made in (self, after)
            if endpoint in made.members
        ]
        places = {place for each in changed for place in _places(each)}
        for made, other, shape in ((self, after, here), (after, self, there)):
            for key in made.policies.keys() - other.policies.keys():
                shape.join(access_rules.of_policy(made.policies[key], table))
            shape.elements[OUTSIDE] = made._bridges()
            # with those that have a place in common with them, if any
            near = [each for each in made.members.values() if not places.isdisjoint(_places(each))]
            made._put(shape, near)
        return here, there

    def _put(self, shape: Shape, members: Collection[Member]) -> None:
        # of two with an address the first one has it
        for member in sorted(members, key=lambda each: each.endpoint, reverse=True):
            found = access_rules.of_member(member, self._kinds[member.policy])
            for name, elements in found.items():
                shape.elements.setdefault(name, {}).update(elements)

    def _bridges(self) -> dict[str, Element]:
        return {each: each for each in self._outside}

    def _skeleton(self, table: str) -> Shape:
        judged, asking, port, servers = self._frame
        return access_rules.skeleton(
            table, judged, names_port=port, names_at=servers, asking=asking
        )


def _places(member: Member) -> Sequence[int]:
    """Return what no other member has: addresses, and the MAC that a link-local one is made of."""
    return (int(member.mac), *map(int, member.addresses))
