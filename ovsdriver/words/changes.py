"""``ovsnet set``: from what is typed to other options for a network or endpoint that stands.

What the record has as typed is read again with the changes in it, by the same table: so an option
whose row is there, and whose value gets into the record, can be changed without a line here.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ovsdriver.domain.plan.replanning import Touched
from ovsdriver.domain.records.model import Endpoint, Network
from ovsdriver.domain.records.requests import EndpointOptions, NetworkOptions
from ovsdriver.errors import InvalidOptionError, UnsupportedError
from ovsdriver.words import in_force, options
from ovsdriver.words.options import Option, Scope
from ovsdriver.words.values import quote

__all__ = ["OtherOptions", "Scope"]

_OTHER = {Scope.NETWORK: Scope.ENDPOINT, Scope.ENDPOINT: Scope.NETWORK}
_TARGET = {Scope.NETWORK: "NETWORK", Scope.ENDPOINT: "NETWORK/CONTAINER"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherOptions:
    """Options that are to change, as typed; an empty value is "as if it were never said"."""

    typed: Mapping[str, str]

    def of_network(self, network: Network) -> tuple[NetworkOptions, Touched]:
        """Return all options of ``network``, and which of them change.

        Raises:
            InvalidOptionError: one is unknown, misplaced, out of range or contradicts another.
            UnsupportedError: one cannot be changed while the network stands.
        """
        merged, touched = self._merged(Scope.NETWORK, network.options)
        return options.network(merged, internal=network.internal), touched

    def of_endpoint(self, endpoint: Endpoint) -> EndpointOptions:
        """Return all options of ``endpoint``; errors as of :meth:`of_network`."""
        merged, _ = self._merged(Scope.ENDPOINT, endpoint.options)
        return options.endpoint(merged)

    def network_values(self, network: Network) -> Mapping[str, str | None]:
        """Return what is in force of the options that change, by name."""
        return self._chosen(Scope.NETWORK, in_force.of_network(network))

    def endpoint_values(self, network: Network, endpoint: Endpoint) -> Mapping[str, str | None]:
        """Return what is in force of the options that change, by name."""
        return self._chosen(Scope.ENDPOINT, in_force.of_endpoint(network, endpoint))

    def named(self, scope: Scope) -> Mapping[str, str]:
        """Return what is typed by the rows' own names; errors as of :meth:`of_network`."""
        return {_row(scope, key).name: text for key, text in self.typed.items()}

    def onto(self, scope: Scope, before: Mapping[str, str]) -> Mapping[str, str]:
        """Return what is typed of all options then; errors as of :meth:`of_network`."""
        return self._merged(scope, before)[0]

    def before(self, scope: Scope, typed: Mapping[str, str]) -> Mapping[str, str]:
        """Return what ``typed`` says of the same rows, by their names; empty: nothing."""
        said = {options.row(scope, k).name: v for k, v in typed.items() if options.known(scope, k)}
        return {name: said.get(name, "") for name in self.named(scope)}

    def _chosen(self, scope: Scope, values: Mapping[str, str | None]) -> Mapping[str, str | None]:
        return {name: values[name] for name in (options.row(scope, key).name for key in self.typed)}

    def _merged(self, scope: Scope, before: Mapping[str, str]) -> tuple[Mapping[str, str], Touched]:
        rows = {key: _row(scope, key) for key in self.typed}
        for key, row in rows.items():
            if row.fixed:
                raise UnsupportedError(
                    f"{key}: cannot be changed while {scope.phrase} stands, for {row.fixed}"
                )
        changed = {row.name for row in rows.values()}
        kept = {
            key: text
            for key, text in before.items()
            if not options.known(scope, key) or options.row(scope, key).name not in changed
        }
        said = {key: text for key, text in self.typed.items() if text}
        return kept | said, Touched(
            fields=frozenset(row.field for row in rows.values()),
            anew=frozenset(row.field for key, row in rows.items() if key not in said),
        )


def _row(scope: Scope, key: str) -> Option:
    if not options.known(scope, key):
        other = _OTHER[scope]
        if options.known(other, key):
            raise InvalidOptionError(
                f"{quote(key)}: an option of {other.phrase}, not of {scope.phrase}; "
                f"write ovsnet set {_TARGET[other]} {key.lower()}=…"
            )
        if options.known(Scope.IPAM, key):
            fixed = options.row(Scope.IPAM, key).fixed
            raise UnsupportedError(
                f"{quote(key)}: cannot be changed while its pool stands, for {fixed}"
            )
    return options.row(scope, key)
