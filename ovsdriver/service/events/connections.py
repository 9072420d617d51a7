"""Open vSwitch and Docker: told when they answer, and when they end."""

import logging

from ovsdriver.domain.events.event import EventType, Happening
from ovsdriver.ports import Journal, SwitchView
from ovsdriver.service.forgotten.witnesses import Witness


class Connections:
    """Passes on what is heard of them."""

    def __init__(self, *, switch: SwitchView, witness: Witness, journal: Journal) -> None:
        self._journal = journal
        switch.on_connection(self._switch)
        witness.on_answer(lambda: self._tell(EventType.DOCKER, "answered"))
        witness.on_end(lambda: self._tell(EventType.DOCKER, "lost"))

    def _switch(self, connected: bool) -> None:
        self._tell(EventType.SWITCH, "connected" if connected else "lost")

    def _tell(self, kind: EventType, action: str) -> None:
        level = logging.WARNING if action == "lost" else logging.INFO
        self._journal.tell(Happening(kind, action), level=level)
