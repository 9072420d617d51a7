"""What people ask of what stands, again and again with a kill at another point.

After each kill the process is started again, and then all must be as before the ask or as after
it. Whoever asked has heard nothing, and asks once more: now all must be as after it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, NamedTuple

from tests.faults.lives import MOST_POINTS, Life, Process
from tests.faults.played import FailedError

BEFORE, AFTER = "before", "after"


class Ask(NamedTuple):
    """A request on the admin socket."""

    word: str
    said: Mapping[str, Any]

    @property
    def call(self) -> str:
        """Return what a process that is to be killed calls it."""
        return f"ask/{self.word}"


@dataclass(frozen=True)
class Change:
    """An ask, and another that takes it back."""

    scene: str
    """Key of ``SCENES``."""
    do: Ask
    undo: Ask


NETWORK, ENDPOINT = "NETWORK", "ENDPOINT"
"""In an ask: the life's own."""


def _set(
    scene: str,
    target: str,
    do: Mapping[str, str],
    undo: Mapping[str, str],
    spell: Mapping[str, float] | None = None,
) -> Change:
    said = {"target": target, "options": do} | ({"spell": spell} if spell else {})
    return Change(
        scene,
        Ask("set-options", said),
        Ask("set-options", {"target": target, "options": undo}),
    )


def _for_a_while(spell: Mapping[str, float]) -> Ask:
    said = {"target": ENDPOINT, "options": {"ovs.link": "down"}, "spell": spell}
    return Ask("set-options", said)


def _rules(name: str, **said: list[str]) -> Ask:
    return Ask("set-rules", {"name": name, **said})


LAB = _rules("lab", allow=["any tcp", "10.78.0.0/16"])
"""The rules that scenes speak of."""

PERIOD_S = 9000.0
"""How long holds what is for a while."""

_LEFT = {"ovs.allow": "container:near tcp/80, example.com tcp/443, from any icmp"}

CHANGES: Mapping[str, Change] = {
    "rules of a container": _set(
        "rules",
        ENDPOINT,
        {"ovs.allow": "10.78.30.0/24 tcp/81, *.example.org", "ovs.deny": "container:near udp"},
        {**_LEFT, "ovs.deny": ""},
    ),
    "no rules of a container": _set("rules", ENDPOINT, {"ovs.allow": ""}, _LEFT),
    "rules of a network": _set(
        "rules",
        NETWORK,
        {"ovs.deny": "network:beside, from 10.0.0.0/8", "ovs.rules": ""},
        {"ovs.deny": "10.0.0.0/8 udp, container:near", "ovs.rules": "lab"},
    ),
    "a set of rules in use": Change("rules", _rules("lab", deny=["any udp/53"]), LAB),
    "a set of rules": Change(
        "rules", _rules("spare", allow=["example.net"]), Ask("remove-rules", {"name": "spare"})
    ),
    "rules on a bridge": _set(
        "lan",
        ENDPOINT,
        {"ovs.allow": "", "ovs.deny": "container:router udp", "ovs.dscp": "12"},
        {
            "ovs.allow": "container:router, 10.78.1.0/24 tcp, from any icmp",
            "ovs.deny": "",
            "ovs.dscp": "ef",
        },
    ),
    "a patch": _set("lan", NETWORK, {"ovs.patch": ""}, {"ovs.patch": "br-core"}),
    "a patch's cable": _set(
        "lan", NETWORK, {"ovs.patch_link": "down"}, {"ovs.patch_link": ""}, {"for_s": PERIOD_S}
    ),
    "ways out": _set(
        "lan",
        NETWORK,
        {
            "ovs.gateway": "10.78.1.9",
            "ovs.routes": "10.52.0.0/16",
            "ovs.host_address": "10.78.1.251/24",
            "ovs.host": "all",
        },
        {
            "ovs.gateway": "container:router",
            "ovs.routes": "10.51.0.0/16 via 10.78.1.99+fd00:51::/64",
            "ovs.host_address": "10.78.1.250/24,fd00:78:1::250/64",
            "ovs.host": "",
        },
    ),
    "another router": _set(
        "lan",
        NETWORK,
        {"ovs.gateway": "10.78.1.9", "ovs.routes": ""},
        {
            "ovs.gateway": "container:router",
            "ovs.routes": "10.51.0.0/16 via 10.78.1.99+fd00:51::/64",
        },
    ),
    "no ways out": _set(
        "lan",
        NETWORK,
        {"ovs.gateway": "", "ovs.routes": "", "ovs.host_address": ""},
        {
            "ovs.gateway": "container:router",
            "ovs.routes": "10.51.0.0/16 via 10.78.1.99+fd00:51::/64",
            "ovs.host_address": "10.78.1.250/24,fd00:78:1::250/64",
        },
    ),
    "a cable": _set(
        "lan",
        ENDPOINT,
        {"ovs.link": "down"},
        {"ovs.link": ""},
        {"for_s": PERIOD_S, "every_s": 2 * PERIOD_S},
    ),
    "another while": Change(
        "rules", _for_a_while({"for_s": PERIOD_S}), _for_a_while({"for_s": 60.0, "every_s": 99.0})
    ),
    "for a while": _set(
        "rules",
        ENDPOINT,
        {"ovs.link": "down", "ovs.allow": "", "ovs.dscp": "cs1"},
        {"ovs.link": "", "ovs.dscp": "", **_LEFT},
        {"for_s": PERIOD_S},
    ),
}


class Person:
    """Who asks."""

    def __init__(self, ask: Callable[[str, bytes], Any], revive: Callable[[], None]) -> None:
        """Say how.

        Args:
            ask: asks with that word and body; OSError or HTTPException if it is cut off.
            revive: brings back a process that was found dead.
        """
        self._ask = ask
        self._revive = revive

    def ask(self, what: Ask, life: Life | None = None) -> None:
        """Ask, of that life; cut off, it comes again with no body, which must be refused.

        Raises:
            FailedError: refused, or cut off.
        """
        said = dict(what.said)
        if "target" in said and life is not None:
            said["target"] = dict(zip((NETWORK, ENDPOINT), life.ids, strict=True))[said["target"]]
        try:
            found = self._ask(what.word, json.dumps(said).encode())
        except (OSError, HTTPException) as error:
            self._revive()
            empty = self._ask(what.word, b"")
            assert list(empty) == ["error"], empty
            raise FailedError(f"{what.word}: cut off") from error
        if isinstance(found, dict) and list(found) == ["error"]:
            raise FailedError(f"{what.word}: {found}")


def play_change(
    life: Life,
    person: Person,
    process: Process,
    change: Change,
    *,
    every: int,
    reference: Callable[[str], None],
    is_one_of: Callable[[tuple[str, ...], str], None],
) -> int:
    """Play a change, there and back, with a kill at every point; return how many there were.

    Args:
        life: whose things are changed.
        person: who asks.
        process: that is killed.
        change: what is asked.
        every: of the points of an ask.
        reference: called to keep how all is, by a name.
        is_one_of: called to assert that all is as one of those names says; and words for it.
    """
    do, undo = change.do, change.undo
    life.started()
    person.ask(do, life)  # what was asked at first is noted with the first change
    person.ask(undo, life)
    reference(BEFORE)
    person.ask(do, life)
    reference(AFTER)
    person.ask(do, life)
    is_one_of((AFTER,), f"{do} came twice")
    person.ask(undo, life)
    kills = 0
    for ask, back, name in ((do, undo, AFTER), (undo, do, BEFORE)):
        for number in range(1 + kills % every, MOST_POINTS, every):
            process.doom(ask.call, number)
            deaths = process.deaths
            try:
                person.ask(ask, life)
            except FailedError:
                assert process.deaths > deaths
            if process.deaths == deaths:
                break
            kills += 1
            what = f"killed in {ask} at point {number}"
            is_one_of((BEFORE, AFTER), what)
            _ask_again(person, ask, life)
            is_one_of((name,), f"{what}, and asked again")
            person.ask(back, life)
        is_one_of((name,), f"{ask}, not killed")
    life.removed()
    return kills


def _ask_again(person: Person, ask: Ask, life: Life) -> None:
    try:
        person.ask(ask, life)
    except FailedError as error:
        # it was done to its end, and not answered
        if ask.word != "remove-rules" or "there are none" not in str(error):
            raise
