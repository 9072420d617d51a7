"""A journal that keeps nothing over a restart."""

import logging

from ovsdriver.domain.events.event import Happening


class FakeJournal:
    """The port ``Journal``: what was told, in order."""

    def __init__(self) -> None:
        self.told: list[Happening] = []

    def tell(self, happening: Happening, *, level: int = logging.INFO) -> None:
        self.told.append(happening)
