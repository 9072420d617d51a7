"""Which engines give the names that are asked for."""

import pytest

from ovsdriver.domain.wires import interface_names


@pytest.mark.parametrize(
    ("version", "given"),
    [
        ("26.1.5+dfsg1", False),
        ("28.5.2", False),
        ("29.7.9", False),
        ("29.8.0-rc.1", True),
        ("29.10.0", True),
        ("30.0.0", True),
        ("dev", True),
    ],
)
def test_a_name_is_given_from_29_8_on(version: str, given: bool) -> None:
    assert interface_names.given_by(version) is given


def test_a_name_that_is_not_given_is_told_in_a_sentence() -> None:
    said = interface_names.not_given("lan0", "26.1.5")
    assert said.startswith("the name lan0 was asked for, and Docker 26.1.5 ")
    assert "29.8" in said
    assert len(said.split()) <= 30
