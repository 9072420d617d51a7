"""Text into where copies of packets are led. As ``values``."""

from ovsdriver.domain.records.options.port_options import MirrorKind, MirrorTarget
from ovsdriver.words import values


def parse(text: str) -> MirrorTarget:
    """Read ``sink:WORD``, ``nic:eth2``, ``gre:ADDRESS`` or ``erspan:ADDRESS``."""
    word, colon, rest = text.partition(":")
    try:
        kind = values.word(word, {each.value: each for each in MirrorKind})
    except ValueError as error:
        raise ValueError(
            f"{values.quote(text)} leads nowhere; write it like sink:ids, nic:eth2, gre:192.0.2.9 "
            "or erspan:192.0.2.9"
        ) from error
    if not colon or not rest:
        raise ValueError(f"{values.quote(text)} does not say where to; write it like {_LIKE[kind]}")
    match kind:
        case MirrorKind.SINK:
            return MirrorTarget(kind=kind, sink=values.label(rest))
        case MirrorKind.NIC:
            return MirrorTarget(kind=kind, nic=values.link_name(rest, what="a NIC"))
    return MirrorTarget(kind=kind, remote=values.address(rest))


def text(target: MirrorTarget) -> str:
    """Return what ``parse`` reads."""
    return f"{target.kind}:{target.sink or target.nic or target.remote}"


_LIKE = {
    MirrorKind.SINK: "sink:ids",
    MirrorKind.NIC: "nic:eth2",
    MirrorKind.GRE: "gre:192.0.2.9",
    MirrorKind.ERSPAN: "erspan:192.0.2.9",
}
