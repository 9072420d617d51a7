"""Text into features of bridges, and back. As ``values``."""

import re
from collections.abc import Callable

from ovsdriver.domain.records.options.features import Exporter, FailMode
from ovsdriver.words import values

_SEVERAL = re.compile(r"[+,]")
_VERSIONS = ("OpenFlow10", "OpenFlow11", "OpenFlow12", "OpenFlow13", "OpenFlow14", "OpenFlow15")
_TARGET = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[0-9.]+)(?::([0-9]{1,5}))?")
_CONTROLLER = re.compile(r"(tcp|ssl):(\[[0-9A-Fa-f:.]+\]|[0-9.]+)(?::([0-9]{1,5}))?|unix:/[!-~]+")
_MOST_SAMPLING = 1_000_000


def rstp(text: str) -> bool:
    """Read ``containers``, which is true, or ``false``."""
    if text.lower() == "true":
        raise ValueError(
            "RSTP would let containers take part in the bridge's spanning tree, where one can "
            "become the root; if they shall, say ovs.rstp=containers"
        )
    return values.word(text, {"containers": True, "false": False})


def rstp_text(on: bool) -> str:
    """Return what ``rstp`` reads."""
    return "containers" if on else "false"


def control_frames(text: str) -> bool:
    """Read ``forward`` or ``drop``."""
    return values.word(text, {"forward": True, "drop": False})


def control_frames_text(forwarded: bool) -> str:
    """Return what ``control_frames`` reads."""
    return "forward" if forwarded else "drop"


def fail_mode(text: str) -> FailMode:
    """Read ``standalone`` or ``secure``."""
    return values.word(text, {each.value: each for each in FailMode})


def protocols(text: str) -> tuple[str, ...]:
    """Read versions of OpenFlow, ascending and each once."""
    known = {each: each for each in _VERSIONS}
    return tuple(sorted({values.word(each.strip(), known) for each in _SEVERAL.split(text)}))


def controllers(text: str) -> tuple[str, ...]:
    """Read ``tcp:192.0.2.9:6653`` or ``unix:/run/c.sock``, several with ``+``."""
    found = set()
    for part in map(str.strip, _SEVERAL.split(text)):
        parts = _CONTROLLER.fullmatch(part)
        if parts is None:
            raise ValueError(
                f"{values.quote(text)} is no controller; write it like tcp:192.0.2.9:6653"
            )
        place = _endpoint(parts[2], parts[3] or "6653", text) if parts[2] else ""
        found.add(f"{parts[1]}:{place}" if place else part)
    return tuple(sorted(found))


def _exporter(port: int, *, sampled: bool) -> Callable[[str], Exporter]:
    def read(text: str) -> Exporter:
        place, slash, rate = text.partition("/")
        if slash and not sampled:
            raise ValueError(f"{values.quote(text)}: every packet counts; leave the /{rate} out")
        targets = set()
        for part in _SEVERAL.split(place):
            parts = _TARGET.fullmatch(part.strip())
            if parts is None:
                raise ValueError(
                    f"{values.quote(text)} is no collector; write it like 192.0.2.9:{port}"
                )
            targets.add(_endpoint(parts[1], parts[2] or str(port), text))
        what = "how many packets one is looked at of"
        sampling = values.integer(rate, 1, _MOST_SAMPLING, what) if slash else None
        return Exporter(targets=tuple(sorted(targets)), sampling=sampling)

    return read


def _endpoint(address: str, port: str, text: str) -> str:
    try:
        values.address(address.strip("[]"))
        values.integer(port, 1, 65535, "a port")
    except ValueError as error:
        raise ValueError(f"{values.quote(text)}: {error}") from error
    return f"{address}:{port}"


sflow = _exporter(6343, sampled=True)
netflow = _exporter(2055, sampled=False)
ipfix = _exporter(4739, sampled=True)


def exporter_text(exporter: Exporter) -> str:
    """Return what the parsers of exporters read."""
    places = "+".join(exporter.targets)
    return places if exporter.sampling is None else f"{places}/{exporter.sampling}"
