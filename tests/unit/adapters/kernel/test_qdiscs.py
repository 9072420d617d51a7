"""What a netem is told, beside what `tc` sends for the same."""

from ovsdriver.adapters.kernel.codec import qdiscs
from ovsdriver.adapters.kernel.codec.rtnetlink import attributes
from ovsdriver.domain.records.options.shaping import LinkShape

SHAPE = LinkShape(
    delay_us=20_000,
    jitter_us=5_000,
    loss_ppm=10_000,
    duplicate_ppm=30_000,
    corrupt_ppm=20_000,
    reorder_ppm=250_000,
)

# Seen with strace of iproute2 6.15: tc qdisc add dev v0 root handle f5a: netem delay 20ms 5ms
# loss 1% duplicate 3% corrupt 2% reorder 25%. Its limit is 1000 packets, ours more.
OF_TC = bytes.fromhex(
    "00000000e8030000295c8f02010000007b14ae0700000000"
    "0c000a00002d3101000000000c000b00404b4c0000000000"
    "0c000300000000400000000" + "00c00040052b81e0500000000"
)
HEAD = 24


def test_all_that_makes_a_link_bad_is_told_as_tc_tells_it() -> None:
    ours = qdiscs.netem(SHAPE)
    assert ours[8:HEAD] == OF_TC[8:HEAD]
    assert dict(attributes(ours, HEAD)) == dict(attributes(OF_TC, HEAD))


def test_what_the_kernel_tells_is_what_it_was_told() -> None:
    for shape in (SHAPE, LinkShape(loss_ppm=1), LinkShape(delay_us=1, reorder_ppm=1_000_000)):
        read = qdiscs.read_netem(qdiscs.netem(shape))
        assert LinkShape(**read) == shape
