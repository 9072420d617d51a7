"""What a person may ask to change of what stands, over the admin socket."""

from collections.abc import Callable
from dataclasses import dataclass

from ovsdriver.admin import by_name
from ovsdriver.domain.records.model import EndpointId
from ovsdriver.errors import UnavailableError, UnknownObjectError
from ovsdriver.ports import Engine, EngineView, State
from ovsdriver.service.change.changed_options import KeptOptions
from ovsdriver.service.change.changes import Changes, Done
from ovsdriver.words.changes import OtherOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedOption:
    """An option, and what is in force of it; None: nothing, or whatever comes."""

    option: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AffectedContainer:
    """A running container that the change is about."""

    endpoint: str
    """Id of its endpoint."""
    container: str
    """Its name, as far as Docker told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """What became of a wish; member by member the admin socket's JSON."""

    kind: str
    """``network`` or ``endpoint``."""
    id: str
    name: str
    """Of the network, or of the endpoint's container; empty if Docker did not tell it."""
    network: str
    """Id of the network, or of the endpoint's."""
    options: tuple[ChangedOption, ...]
    containers: tuple[AffectedContainer, ...]
    pending: tuple[str, ...]
    """What is recorded and not in force yet, a sentence each; it is tried again."""


class ChangeConsole:
    """Answers once the store is open."""

    def __init__(self, *, engine: Engine, degraded: Callable[[], str]) -> None:
        """Build it.

        Args:
            engine: Docker, for names.
            degraded: says why only a part of the work is done.
        """
        self._engine = engine
        self._degraded = degraded
        self._parts: tuple[State, Changes, KeptOptions] | None = None

    def ready(self, *, state: State, changes: Changes, kept: KeptOptions) -> None:
        """Answer from now on."""
        self._parts = state, changes, kept

    async def change(self, target: str, wish: OtherOptions) -> Changed:
        """Change options of the network or the container that ``target`` means.

        All of them or none; what is recorded and not in force yet is said.

        Raises:
            UnknownObjectError, ConflictError: see ``lookup.target``.
            DriverError: it was refused, and nothing is changed.
        """
        if self._parts is None:
            raise UnavailableError(self._degraded() or "ovsnet is still starting; try again")
        state, changes, kept = self._parts
        view = await self._view()
        found = self._found(target, state, view)
        if found.endpoint is not None:
            done = await changes.endpoint(found.endpoint, wish)
            name = _container(view, found.endpoint)
            await kept.note(found.endpoint, _container_id(view, found.endpoint))
        else:
            done = await changes.network(found.network, wish)
            name = view.networks.get(found.network, "") if view is not None else ""
        return Changed(
            kind="network" if found.endpoint is None else "endpoint",
            id=found.endpoint or found.network,
            name=name,
            network=found.network,
            options=_options(done),
            containers=tuple(
                AffectedContainer(endpoint=each, container=_container(view, each))
                for each in done.endpoints
            ),
            pending=done.pending,
        )

    def _found(self, target: str, state: State, view: EngineView | None) -> by_name.Target:
        networks = {
            each.id: view.networks.get(each.id, "") if view is not None else ""
            for each in state.networks()
            if not each.ended
        }
        endpoints = [
            (by_name.Target(network=each.network, endpoint=each.id), _container(view, each.id))
            for each in state.endpoints()
            if not each.ended
        ]
        try:
            return by_name.target(target, networks, endpoints)
        except UnknownObjectError as error:
            if view is not None:
                raise
            raise UnknownObjectError(
                f"{error}. Docker does not answer, so names are not known either; use an id"
            ) from error

    async def _view(self) -> EngineView | None:
        try:
            return await self._engine.read()
        except UnavailableError:
            return None


def _container(view: EngineView | None, endpoint: EndpointId) -> str:
    listed = view.endpoints.get(endpoint) if view is not None else None
    return listed.container if listed is not None else ""


def _container_id(view: EngineView | None, endpoint: EndpointId) -> str:
    listed = view.endpoints.get(endpoint) if view is not None else None
    return listed.container_id if listed is not None else ""


def _options(done: Done) -> tuple[ChangedOption, ...]:
    return tuple(
        ChangedOption(option=name, old=done.old[name], new=new) for name, new in done.new.items()
    )
