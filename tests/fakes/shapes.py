"""Queueing disciplines in memory; tests/contract/test_shapes.py holds them to the kernel."""

from collections.abc import Mapping

from netaddr import EUI

from ovsdriver.domain.records.options.shaping import LinkShape
from ovsdriver.errors import ConflictError, UnavailableError, UnsupportedError
from tests.fakes.links import FakeLinks


class FakeShapes:
    """Fulfils ``ovsdriver.ports.Shapes`` on the links of ``FakeLinks``."""

    def __init__(self, links: FakeLinks) -> None:
        self.broken: str | None = None
        self.netem = True
        """The kernel has it."""
        self.queues = True
        """It has what these take."""
        self.foreign: set[str] = set()
        """Links that somebody else shapes."""
        self.calls = 0
        self._links = links
        self._host: dict[int, LinkShape] = {}
        self._inside: dict[tuple[str, EUI], LinkShape] = {}

    def of(self, link: str) -> LinkShape:
        """Return what a link of the host is shaped like."""
        return self._of_index(self._links.index_of(link))

    def of_inside(self, sandbox: str, mac: EUI) -> LinkShape:
        """Return what a container's link is shaped like."""
        return self._inside.get((sandbox, mac), LinkShape())

    def forget(self) -> None:
        """Be somebody who removes what is there."""
        self._host.clear()

    async def on_host(self, link: str, shape: LinkShape) -> bool:
        self._check(shape)
        self.calls += 1
        index = self._links.index_of(link)
        if index is None:
            return False
        if link in self.foreign and shape:
            raise ConflictError(f"somebody shapes {link}")
        before = self._of_index(index)
        self._host[index] = shape
        return before != shape

    async def inside(self, sandbox: str, mac: EUI, shape: LinkShape) -> bool:
        self._check(shape)
        self.calls += 1
        place = self._links.sandboxes.get(sandbox)
        if place is None or not place.alive or mac not in place.tx_offload:
            return False
        self._inside[sandbox, mac] = shape
        return True

    async def observed(self) -> Mapping[str, LinkShape]:
        self._check(LinkShape())
        found = {name: self._of_index(link.index) for name, link in self._links.present().items()}
        return {name: shape for name, shape in found.items() if shape}

    async def able(self, shape: LinkShape) -> bool:
        return (self.netem or not shape.impaired) and (self.queues or not shape.by_mark)

    def same(self, one: LinkShape, other: LinkShape) -> bool:
        return one == other

    def _of_index(self, index: int | None) -> LinkShape:
        return self._host.get(index, LinkShape()) if index is not None else LinkShape()

    def _check(self, shape: LinkShape) -> None:
        if self.broken:
            raise UnavailableError(self.broken)
        if shape.impaired and not self.netem:
            raise UnsupportedError("the kernel has no netem")
        if shape.by_mark and not self.queues:
            raise UnsupportedError("the kernel has no htb")
