"""Every pair of options, ports, wires and events; and what cannot be combined, by its sentence."""

from collections.abc import Iterator

import pytest

from tests.e2e import snapshot
from tests.pairs import model
from tests.pairs.model import Case, Refusal
from tests.pairs.scene import Scene, Surroundings, is_refused

pytestmark = pytest.mark.docker

CASES = [pytest.param(each, id=model.text(each)) for each in model.chosen(model.SEED, model.SHARE)]
REFUSED = [pytest.param(each, id=model.text(model.refused_case(each))) for each in model.REFUSALS]


@pytest.fixture
def left_as_it_was(surroundings: Surroundings) -> Iterator[None]:
    surroundings.bed.revive()
    before = snapshot.take(surroundings.bed)
    yield
    snapshot.wait_for(surroundings.bed, before)


@pytest.mark.parametrize("case", CASES)
def test_a_combination_works_before_and_after_what_happens_to_it(
    surroundings: Surroundings, left_as_it_was: None, case: Case
) -> None:
    scene = Scene(surroundings, case)
    try:
        scene.begin()
        scene.is_right()
        scene.happens()
        scene.is_right()
    finally:
        scene.clear()


@pytest.mark.parametrize("refusal", REFUSED)
def test_what_cannot_be_combined_is_refused_with_a_sentence(
    surroundings: Surroundings, left_as_it_was: None, refusal: Refusal
) -> None:
    scene = Scene(surroundings, model.refused_case(refusal))
    try:
        is_refused(scene, refusal.says)
    finally:
        scene.clear()
