"""What networks and containers are called, noted for events: their readers know names, not ids."""

from ovsdriver.ports import Events, State
from ovsdriver.service.forgotten.witnesses import Witness


class Called:
    """Notes names of ours whenever Docker was read; it is never read for this."""

    def __init__(self, *, state: State, events: Events, witness: Witness) -> None:
        self._state = state
        self._events = events
        self._witness = witness
        witness.on_read(self._note)

    def _note(self) -> None:
        seen = self._witness.seen()
        if seen is None:
            return
        view = seen.view
        ids = (each.id for each in self._state.networks())
        names: dict[str, str] = {each: view.networks[each] for each in ids if each in view.networks}
        for endpoint in self._state.endpoints():
            listed = view.endpoints.get(endpoint.id)
            if listed is not None and listed.container:
                names[endpoint.id] = listed.container
        self._events.note_names(names)
