"""What is said in one place, and what somebody else says of the rest."""

from ovsdriver.domain.records.model import PLAIN, PortKind, PortOptions
from ovsdriver.domain.records.options.features import Exporter, Features

SAMPLES = Exporter(targets=("192.0.2.9:6343",))


def test_what_is_said_goes_before_what_another_says() -> None:
    own = PortOptions(mtu=1400, trunks=(5,), guard=False, delay_us=0)
    other = PortOptions(mtu=1500, trunks=(6, 7), guard=True, delay_us=20, sink="ids")
    assert own | other == PortOptions(mtu=1400, trunks=(5,), guard=False, delay_us=0, sink="ids")


def test_who_says_nothing_of_his_own_follows_in_all() -> None:
    assert PortOptions() | PLAIN is PLAIN
    assert PortOptions(kind=PortKind.VETH) | PLAIN is PLAIN
    assert PLAIN | PortOptions() == PLAIN


def test_false_and_zero_are_said_and_an_empty_list_is_not() -> None:
    assert PortOptions(guard=False, loss_ppm=0).said() == {"guard": False, "loss_ppm": 0}
    assert Features(mcast=False, protocols=(), sflow=SAMPLES).said() == {
        "mcast": False,
        "sflow": SAMPLES,
    }
