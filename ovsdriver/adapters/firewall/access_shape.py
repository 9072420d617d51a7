"""Tables of access rules, or parts of them, that can be compared: pure, over libnftables' JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ovsdriver.adapters.firewall.expressions import Object

Element = Any
"""A key, or a key and a verdict, as libnftables prints it."""

_DEFINED_BY = ("type", "map", "flags", "size")
"""What another libnftables says of a set besides is no difference."""

_PROTOCOLS = {"icmp": "1", "tcp": "6", "udp": "17", "ipv6-icmp": "58"}
"""Words of libnftables for what we write as numbers, where it was not built to print these."""


@dataclass(slots=True)
class Shape:
    """Sets, maps and chains of a table, or a part of them, by their names."""

    sets: dict[str, Object] = field(default_factory=dict)
    """Without elements: ``{"set": {…}}`` or ``{"map": {…}}``."""
    elements: dict[str, dict[str, Element]] = field(default_factory=dict)
    """Of sets and maps, by what compares equal."""
    chains: dict[str, Object] = field(default_factory=dict)
    rules: dict[str, list[Object]] = field(default_factory=dict)
    """Of each chain."""

    def join(self, other: "Shape") -> None:
        """Take in another part."""
        self.sets.update(other.sets)
        self.elements.update(other.elements)
        self.chains.update(other.chains)
        self.rules.update(other.rules)


def printed(listed: Iterable[Object]) -> Shape:
    """Read what libnftables lists of a table; elements that go by themselves are left out."""
    shape = Shape()
    for each in listed:
        ((kind, described),) = each.items()
        plain = {key: value for key, value in described.items() if key != "handle"}
        if kind in ("set", "map"):
            name, elements = plain["name"], plain.pop("elem", ())
            shape.sets[name] = {kind: plain}
            lasting = () if "timeout" in plain.get("flags", ()) else elements
            shape.elements[name] = {same(_key(each)): each for each in lasting}
        elif kind == "chain":
            shape.chains[plain["name"]] = {kind: plain}
            shape.rules.setdefault(plain["name"], [])
        elif kind == "rule":
            shape.rules.setdefault(plain["chain"], []).append({kind: plain})
    return shape


def difference(before: Shape, after: Shape, *, table: str) -> list[Object] | None:
    """Return commands from one shape to the other, for one transaction.

    None if something has another definition under the same name: that cannot be changed.
    """
    if any(
        _definition(before.sets[name]) != _definition(after.sets[name])
        for name in before.sets.keys() & after.sets.keys()
    ) or any(
        before.chains[name] != after.chains[name]
        for name in before.chains.keys() & after.chains.keys()
    ):
        return None
    where = {"family": "inet", "table": table}
    commands: list[Object] = [
        {"add": made} for name, made in after.sets.items() if name not in before.sets
    ]
    commands += [{"add": made} for name, made in after.chains.items() if name not in before.chains]
    for chain, rules in after.rules.items():
        standing = before.rules.get(chain)
        if standing == rules:
            continue
        if standing:
            commands.append({"flush": {"chain": {**where, "name": chain}}})
        commands += [{"add": rule} for rule in rules]
    for name in sorted(before.elements.keys() | after.elements.keys()):
        old, new = before.elements.get(name, {}), after.elements.get(name, {})
        if name not in after.sets and name in before.sets:
            # a map that goes still holds on to chains
            commands += [{"flush": {"set": {**where, "name": name}}}] if old else []
            continue
        gone = [_key(each) for key, each in old.items() if _other(each, new.get(key))]
        come = [each for key, each in new.items() if _other(each, old.get(key))]
        for verb, elements in (("delete", gone), ("add", come)):
            if elements:
                commands.append({verb: {"element": {**where, "name": name, "elem": elements}}})
    for chains in ("flush", "delete"):  # they lead to each other
        commands += [
            {chains: {"chain": {**where, "name": name}}}
            for name in before.chains
            if name not in after.chains
        ]
    commands += [
        {"delete": {"set": {**where, "name": name}}}
        for name in before.sets
        if name not in after.sets
    ]
    return commands


def same(key: Element) -> str:
    """Return the same text for the same key."""
    if isinstance(key, str):
        return _PROTOCOLS.get(key, key)
    if isinstance(key, dict):
        if "concat" in key:
            return " . ".join(map(same, key["concat"]))
        if "range" in key:
            return "-".join(map(same, key["range"]))
        if "prefix" in key:
            return f"{key['prefix']['addr']}/{key['prefix']['len']}"
    return str(key)


def text(rules: Sequence[Object] | None) -> str:
    """Return rules as one text that can be compared."""
    return json.dumps(rules, sort_keys=True)


def _key(element: Element) -> Element:
    """Return an element without its verdict, its counter and what is said of it."""
    if isinstance(element, list):
        element = element[0]
    return element["elem"]["val"] if isinstance(element, dict) and "elem" in element else element


def _other(one: Element, other: Element | None) -> bool:
    """Whether two elements of the same key are not the same; what is said of them is no matter."""
    return other is None or (isinstance(one, list) and one[1] != other[1])


def _definition(each: Object) -> Sequence[Any]:
    ((kind, described),) = each.items()
    return [kind, *(described.get(key) for key in _DEFINED_BY)]
