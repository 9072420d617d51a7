"""OVN's southbound database: hosts and their signs of life, by one question at a time.

Its copy on every host is ovn-controller's. Ours would be a second one of megabytes, for what a
person asks now and then.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ovsdriver.adapters.ovsdb import Certificates, OvsdbError, Servers
from ovsdriver.adapters.ovsdb.wire.question import transact
from ovsdriver.errors import UnavailableError
from ovsdriver.ports.southbound import Chassis, SouthboundView

_DATABASE = "OVN_Southbound"
_REFUSED = "permission error"


class OvnSouthbound:
    """Fulfils ``ovsdriver.ports.Southbound``."""

    def __init__(
        self,
        remote: Callable[[], str],
        *,
        certificates: Certificates | None = None,
        timeout_s: float = 1.5,
    ) -> None:
        """Prepare; nothing is connected until somebody asks.

        Args:
            remote: says where it is, as ``external_ids:ovn-remote`` of Open vSwitch does.
            certificates: for servers that are ``ssl:``.
            timeout_s: limit for each server that is asked.
        """
        self._remote = remote
        self._certificates = certificates
        self._timeout_s = timeout_s

    def servers(self) -> tuple[str, ...]:
        return tuple(filter(None, (each.strip() for each in self._remote().split(","))))

    async def read(self) -> SouthboundView:
        calls, registered, lives, tunnels = await self._transact(
            _select("SB_Global", "nb_cfg"),
            _select("Chassis", "name", "encaps"),
            _select("Chassis_Private", "name", "nb_cfg", "nb_cfg_timestamp"),
            _select("Encap", "_uuid", "ip"),
        )
        life = {row["name"]: row for row in lives["rows"]}
        addresses = {row["_uuid"][1]: row["ip"] for row in tunnels["rows"]}
        return SouthboundView(
            called=max((int(row["nb_cfg"]) for row in calls["rows"]), default=0),
            chassis=tuple(
                _chassis(row, life.get(row["name"], {}), addresses)
                for row in sorted(registered["rows"], key=lambda row: str(row["name"]))
            ),
        )

    async def forget(self, host: str) -> bool:
        where = [["name", "==", host]]
        tables = ("Chassis", "Chassis_Private")
        answers = await self._transact(
            *({"op": "delete", "table": table, "where": where} for table in tables),
            refusal=_REFUSED,
        )
        return not any(each and each.get("error") == _REFUSED for each in answers)

    async def _transact(self, *operations: Mapping[str, Any], refusal: str = "") -> Sequence[Any]:
        """Have it done by the first server that answers; ``refusal`` is an answer, too."""
        texts = self.servers()
        if not texts:
            raise UnavailableError(
                "Open vSwitch does not say where OVN's southbound database is; set "
                "external_ids:ovn-remote to its servers"
            )
        servers = Servers.parse(texts, certificates=self._certificates)
        reasons = []
        for address in servers.addresses:
            try:
                answers = await transact(
                    address,
                    _DATABASE,
                    operations,
                    certificates=self._certificates,
                    timeout_s=self._timeout_s,
                )
            except TimeoutError:
                reasons.append(f"{address.text}: no answer within {self._timeout_s:g} s")
                continue
            except OvsdbError as error:
                reasons.append(f"{address.text}: {error}")
                continue
            errors = [each["error"] for each in answers if each and "error" in each]
            if all(each == refusal for each in errors):
                return answers
            reasons.append(f"{address.text}: {errors[0]}")
        raise UnavailableError(f"OVN's southbound database does not answer: {'; '.join(reasons)}")


def _select(table: str, *columns: str) -> Mapping[str, Any]:
    return {"op": "select", "table": table, "where": [], "columns": list(columns)}


def _chassis(
    row: Mapping[str, Any], life: Mapping[str, Any], addresses: Mapping[str, str]
) -> Chassis:
    found = (addresses.get(uuid, "") for uuid in _uuids(row["encaps"]))
    return Chassis(
        name=row["name"],
        address=next(filter(None, found), ""),
        heard=int(life.get("nb_cfg", 0)),
        at=int(life.get("nb_cfg_timestamp", 0)) / 1000,
    )


def _uuids(column: Sequence[Any]) -> Sequence[str]:
    """Return the rows that a column names: one alone is written without its set (RFC 7047)."""
    kind, value = column
    return [each[1] for each in value] if kind == "set" else [value]
