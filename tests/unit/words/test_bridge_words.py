"""Features of bridges as people type them."""

from collections.abc import Callable

import pytest

from ovsdriver.domain.records.options.features import Exporter
from ovsdriver.words import bridge_words


@pytest.mark.parametrize(
    ("text", "targets", "sampling"),
    [
        ("192.0.2.9", ("192.0.2.9:6343",), None),
        ("192.0.2.9:7000/64", ("192.0.2.9:7000",), 64),
        ("192.0.2.9+[2001:db8::9]:6000", ("192.0.2.9:6343", "[2001:db8::9]:6000"), None),
    ],
)
def test_a_collector_has_an_address_and_may_have_more(
    text: str, targets: tuple[str, ...], sampling: int | None
) -> None:
    found = bridge_words.sflow(text)
    assert found == Exporter(targets=targets, sampling=sampling)
    assert bridge_words.sflow(bridge_words.exporter_text(found)) == found


def test_controllers_are_several_and_have_the_usual_port() -> None:
    assert bridge_words.controllers("tcp:192.0.2.9+ssl:[fd00::1]:7000+unix:/run/c.sock") == (
        "ssl:[fd00::1]:7000",
        "tcp:192.0.2.9:6653",
        "unix:/run/c.sock",
    )


def test_versions_are_read_in_any_case() -> None:
    assert bridge_words.protocols("openflow14,OpenFlow13") == ("OpenFlow13", "OpenFlow14")


@pytest.mark.parametrize(
    ("parse", "text", "hint"),
    [
        (bridge_words.sflow, "collector", "192.0.2.9:6343"),
        (bridge_words.sflow, "192.0.2.9:0", "a port"),
        (bridge_words.sflow, "192.0.2.999", "not an address"),
        (bridge_words.sflow, "192.0.2.9/0", "one is looked at"),
        (bridge_words.netflow, "192.0.2.9/64", "every packet counts"),
        (bridge_words.controllers, "192.0.2.9", "tcp:192.0.2.9:6653"),
        (bridge_words.controllers, "tcp:192.0.2.9:70000", "a port"),
        (bridge_words.protocols, "OpenFlow16", "OpenFlow15"),
        (bridge_words.fail_mode, "open", "standalone"),
        (bridge_words.control_frames, "true", "forward"),
    ],
)
def test_what_is_none_is_refused_with_what_to_type(
    parse: Callable[[str], object], text: str, hint: str
) -> None:
    with pytest.raises(ValueError, match=hint):
        parse(text)
