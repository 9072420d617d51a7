"""The name server of the outside, and what is to be reached by its names."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.bed import Bed
from tests.e2e.world import Program, until

SERVER4, SERVER6 = "192.0.2.53", "2001:db8:ffff::53"
UPSTREAM = str(Path(__file__).parents[1] / "integration" / "upstream.py")
RESOLVE = str(Path(__file__).parents[1] / "hosts" / "resolve.py")


class Names:
    """What the outside says of names; read anew for each question."""

    def __init__(self, bed: Bed, program: Program, zone: Path) -> None:
        self._bed = bed
        self._program = program
        self._zone = zone

    def say(self, *records: str) -> None:
        """Know these records and no others, each as in a zone file: ``a.test. 60 IN A 192.0.2.9``.

        The file is replaced whole: it may be read at any time.
        """
        new = self._zone.with_suffix(".new")
        new.write_text("\n".join(records))
        new.replace(self._zone)

    def asked(self) -> set[str]:
        """Return every name that somebody has asked for."""
        return set(self._program.said().split()[1:])


@contextmanager
def answering(bed: Bed, *addresses: str, by_host: bool = False) -> Iterator[Names]:
    """Have names answered at ``SERVER4``, and the outside serve at more addresses.

    ``by_host``: at the host's 127.0.0.1 instead.
    """
    held = [each for each in (SERVER4, SERVER6, *addresses)]
    for each in held:
        more = ("nodad",) if ":" in each else ()
        length = 64 if ":" in each else 24
        bed.ip("address", "add", f"{each}/{length}", "dev", "eth0", *more, netns=bed.outside)
    zone = bed.home / "zone"
    zone.write_text("")
    at, netns = ("127.0.0.1", None) if by_host else (SERVER4, bed.outside)
    program = Program(bed, "upstream", sys.executable, UPSTREAM, at, "53", str(zone), netns=netns)
    program.log.unlink(missing_ok=True)
    program.start()
    until(lambda: "listening" in program.said(), "the name server listens")
    try:
        yield Names(bed, program, zone)
    finally:
        program.stop()
        for path in (program.log, zone):
            path.unlink(missing_ok=True)
        for each in held:
            length = 64 if ":" in each else 24
            bed.ip("address", "del", f"{each}/{length}", "dev", "eth0", netns=bed.outside)
