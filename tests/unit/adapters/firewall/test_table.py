"""Our table on an nftables in memory: what is written, and when."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from netaddr import IPNetwork

from ovsdriver.adapters.firewall.expressions import Object
from ovsdriver.adapters.firewall.nft import NftError, Table, comparable
from ovsdriver.adapters.firewall.nft_rules import render
from ovsdriver.domain.records.model import Mode, NetworkId
from ovsdriver.domain.traffic.firewall import FirewallPlan, GatewayRules
from ovsdriver.errors import UnavailableError

NAME = "ovsnet"


class PaperNft:
    """Keeps the objects of one table; speaks libnftables' JSON as far as ``Table`` does."""

    def __init__(self, wording: Callable[[Object], Object] = lambda each: each) -> None:
        self.objects: list[Object] | None = None
        self.writes: list[Sequence[Object]] = []
        self.after_write: Callable[[], None] = lambda: None
        self._wording = wording

    def run(self, commands: Sequence[Object]) -> list[Object]:
        if "list" in commands[0]:
            if self.objects is None:
                raise NftError("nftables refused: No such file or directory")
            table = {"table": {"family": "inet", "name": NAME, "handle": 1}}
            return [table, *map(self._wording, self.objects)]
        self.writes.append(commands)
        for command in commands:
            ((verb, body),) = command.items()
            self._do(verb, body)
        self.after_write()
        return []

    def _do(self, verb: str, body: Any) -> None:
        if "table" in body:
            self.objects = None if verb == "delete" else self.objects or []
            return
        if self.objects is None:
            raise NftError("nftables refused: No such file or directory")
        if "element" not in body:
            self.objects.append(body)
            return
        found = next(
            e["set"]
            for e in self.objects
            if e.get("set", {}).get("name") == body["element"]["name"]
        )
        elements = set(found.get("elem", ()))
        change = set(body["element"]["elem"])
        found["elem"] = sorted(elements | change if verb == "add" else elements - change)


def table(nft: PaperNft) -> Table:
    return Table(nft, NAME)  # type: ignore[arg-type]


def rendered(*numbers: int, masquerade: bool = True) -> Sequence[Object]:
    return render(
        FirewallPlan(
            gateways=tuple(
                GatewayRules(
                    network=NetworkId("a" * 64),
                    link=f"ovg{number}",
                    mode=Mode.NAT,
                    subnets=(IPNetwork("10.0.0.0/24"),),
                    masquerade=masquerade,
                )
                for number in numbers
            )
        ),
        table=NAME,
    )


def other_words(each: Object) -> Object:
    """As a libnftables that writes conditions differently would print it."""
    if "rule" not in each:
        return each
    return {"rule": {**each["rule"], "expr": [str(part) for part in each["rule"]["expr"]]}}


def test_it_is_written_once_as_one_transaction() -> None:
    nft = PaperNft()
    ours = table(nft)
    assert ours.ensure(rendered(1))
    assert not ours.ensure(rendered(1))
    assert len(nft.writes) == 1
    assert comparable(nft.objects) == comparable(rendered(1))


def test_a_table_of_an_earlier_process_that_is_right_is_left() -> None:
    nft = PaperNft()
    table(nft).ensure(rendered(1))
    assert not table(nft).ensure(rendered(1))


def test_words_of_another_libnftables_cost_one_write_after_a_restart_and_no_more() -> None:
    nft = PaperNft(other_words)
    for _ in range(2):
        ours = table(nft)
        assert ours.ensure(rendered(1))
        assert not ours.ensure(rendered(1))
    assert len(nft.writes) == 2


def test_in_other_words_too_a_rule_of_someone_else_is_undone() -> None:
    nft = PaperNft(other_words)
    ours = table(nft)
    ours.ensure(rendered(1))
    assert nft.objects is not None
    nft.objects[-1] = {"rule": {**nft.objects[-1]["rule"], "expr": [{"accept": None}]}}
    assert ours.ensure(rendered(1))
    assert comparable(nft.objects) == comparable(rendered(1))


@pytest.mark.parametrize("wording", [lambda each: each, other_words], ids=["same", "other"])
def test_trusted_a_network_more_or_less_is_written_as_elements(
    wording: Callable[[Object], Object],
) -> None:
    nft = PaperNft(wording)
    ours = table(nft)
    ours.ensure(rendered(1, 2))
    assert ours.ensure(rendered(2, 3), trusted=True)
    verbs = [verb for command in nft.writes[-1] for verb in command]
    assert verbs == ["delete", "add", "delete", "add"], "for two sets; the table stays"
    assert comparable(nft.objects) == comparable(rendered(2, 3))
    assert not ours.ensure(rendered(2, 3), trusted=True)
    assert not ours.ensure(rendered(2, 3)), "and it is right when looked at"


def test_trusted_it_is_not_even_looked_at() -> None:
    nft = PaperNft()
    ours = table(nft)
    ours.ensure(rendered(1))
    nft.objects = None
    assert not ours.ensure(rendered(1), trusted=True)
    assert ours.ensure(rendered(1))


def test_trust_that_was_wrong_ends_in_a_whole_table() -> None:
    nft = PaperNft()
    ours = table(nft)
    ours.ensure(rendered(1))
    nft.objects = None
    assert ours.ensure(rendered(1, 2), trusted=True)
    assert nft.objects is not None
    assert comparable(nft.objects) == comparable(rendered(1, 2))


def test_more_than_elements_is_written_as_a_whole_table() -> None:
    nft = PaperNft()
    ours = table(nft)
    ours.ensure(rendered(1))
    changed = [*rendered(1), {"chain": {"family": "inet", "table": NAME, "name": "more"}}]
    assert ours.ensure(changed, trusted=True)
    assert comparable(nft.objects) == comparable(changed)


def test_what_someone_else_changes_all_the_time_is_given_up_with_a_sentence() -> None:
    nft = PaperNft()
    nft.after_write = lambda: nft.objects and nft.objects.clear()  # type: ignore[assignment]
    with pytest.raises(UnavailableError, match="`nft monitor` shows which one"):
        table(nft).ensure(rendered(1))


def test_removing_what_is_not_there_says_so() -> None:
    nft = PaperNft()
    ours = table(nft)
    assert not ours.remove()
    assert not ours.ensure(())
    ours.ensure(rendered(1))
    assert ours.ensure(())
    assert nft.objects is None
    assert ours.ensure(rendered(1), trusted=True), "what was known of it is forgotten"


def test_a_refusal_that_is_not_absence_is_passed_on() -> None:
    class Refusing(PaperNft):
        def run(self, commands: Sequence[Object]) -> list[Object]:
            raise NftError("nftables refused: Operation not permitted")

    with pytest.raises(NftError, match="not permitted"):
        table(Refusing()).ensure(rendered(1))


def test_order_of_elements_and_handles_make_no_difference() -> None:
    def listed(elements: list[Any], handle: int) -> list[Object]:
        return [{"set": {"name": "s", "elem": elements, "handle": handle}}]

    pair, other = {"concat": ["a", "a"]}, {"concat": ["b", "b"]}
    assert comparable(listed([pair, other], 1)) == comparable(listed([other, pair], 2))
    assert comparable(listed(["a", "b"], 1)) == comparable(listed(["b", "a"], 2))
