"""Changes of concurrent callers share transactions; one that is refused fails alone.

Nothing lingers: a transaction goes out as soon as none is in flight, with everything that was
asked for meanwhile. A caller hands in a *plan*, a function from the replica to operations, and
it is asked just before sending. So it is asked again, and sees what the world has become, when
the connection broke with its operations on the way, when somebody else was faster, or when it
had to be sent again without a refused neighbour.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from ovsdriver.adapters.ovsdb.errors import ConnectionLostError, RefusedError
from ovsdriver.adapters.ovsdb.tables.replica import Replica
from ovsdriver.adapters.ovsdb.tables.schema import Operation

Plan = Callable[[Replica], Sequence[Operation]]
"""What to change, given what is there; nothing if all is as wanted.

Called between two transactions, possibly several times. What it raises goes to its caller.
Every ``uuid-name`` in the operations must be its own among all plans.
"""

MAX_UNITS = 500
"""Plans in one transaction: the server is single-threaded and serves others too."""


MAX_REFUSALS = 5
"""Tries of a plan that changes its mind after each refusal."""


class Session(Protocol):
    """A live connection with a complete replica."""

    @property
    def replica(self) -> Replica:
        """The copy, which shows every transaction that was answered."""
        ...

    async def transact(self, operations: Sequence[Operation]) -> Sequence[Any]:
        """Return the results; ConnectionLostError if there is no telling what was done."""
        ...


class _Unit:
    """One plan and who waits for it."""

    def __init__(self, plan: Plan, subject: str) -> None:
        self.plan = plan
        self.subject = subject
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.operations: Sequence[Operation] = ()
        self.refused: Sequence[Operation] = ()
        """What was sent and not done, to tell a plan that has nothing new to try."""
        self.refusal: RefusedError | None = None
        self.refusals = 0


class GroupCommit:
    """The queue of plans, and the one task that empties it."""

    def __init__(
        self,
        session: Callable[[], Awaitable[Session]],
        timed: Callable[[float], object] = lambda _: None,
    ) -> None:
        self._session = session
        self._timed = timed
        self._queue: deque[_Unit] = deque()
        self._wanted = asyncio.Event()
        self.transactions = 0
        """Transactions sent since the start."""
        self.commits = 0
        """Plans whose operations were committed."""

    def submit(self, plan: Plan, subject: str) -> asyncio.Future[bool]:
        """Queue ``plan``; the future says whether anything had to be changed.

        Plans about the same ``subject`` go one after the other: the later one is asked when the
        earlier one's result shows. A future that is cancelled takes its plan out, unless it is
        on its way already.
        """
        unit = _Unit(plan, subject)
        self._queue.append(unit)
        self._wanted.set()
        return unit.done

    async def run(self) -> None:
        """Commit what is queued, until cancelled; then fail what is left."""
        try:
            while True:
                await self._wanted.wait()
                session = await self._session()
                await self._commit(session, self._take())
        finally:
            for unit in self._queue:
                _fail(unit, ConnectionLostError("stopped"))

    def _take(self) -> list[_Unit]:
        count = min(len(self._queue), MAX_UNITS)
        units = [self._queue.popleft() for _ in range(count)]
        if not self._queue:
            self._wanted.clear()
        return units

    async def _commit(self, session: Session, units: list[_Unit]) -> None:
        groups = deque([units])
        while groups:
            group, later = _one_each(groups.popleft())
            if later:
                groups.appendleft(later)
            group = self._planned(session.replica, group)
            if not group:
                continue
            self.transactions += 1
            began = time.monotonic()
            try:
                results = await session.transact([op for unit in group for op in unit.operations])
                self._timed(time.monotonic() - began)
            except ConnectionLostError:
                self._queue.extendleft(
                    reversed([unit for each in (group, *groups) for unit in each])
                )
                self._wanted.set()
                return
            except RefusedError as error:
                # the request as a whole, so nobody in particular
                for unit in group:
                    _fail(unit, error)
                continue
            except asyncio.CancelledError:
                self._queue.extendleft(unit for each in (group, *groups) for unit in each)
                raise
            groups.extendleft(reversed(self._settle(group, results)))

    def _planned(self, replica: Replica, units: list[_Unit]) -> list[_Unit]:
        """Ask each plan again; return the units that have something to send."""
        ready = []
        for unit in units:
            if unit.done.done():
                continue
            try:
                unit.operations = unit.plan(replica)
                replica.schema.check(unit.operations)
            except Exception as error:  # noqa: BLE001 - it is the caller's, and goes there
                _fail(unit, error)
                continue
            if not unit.operations:
                unit.done.set_result(False)
            elif unit.refusal and (
                unit.operations == unit.refused or unit.refusals >= MAX_REFUSALS
            ):
                _fail(unit, unit.refusal)
            else:
                ready.append(unit)
        return ready

    def _settle(self, group: list[_Unit], results: Sequence[Any]) -> list[list[_Unit]]:
        """Tell the callers; return the groups that have to be sent (again)."""
        failed_at = next((i for i, each in enumerate(results) if each and "error" in each), None)
        if failed_at is None:
            return self._committed(group, results)
        error = RefusedError(results[failed_at]["error"], results[failed_at].get("details", ""))
        end = 0
        for position, unit in enumerate(group):
            end += len(unit.operations)
            if failed_at < end:
                _note(unit, error)
                return [group[:position] + group[position + 1 :], [unit]]
        # Refused at commit (RFC 7047, section 4.1.3): the reply does not say whose fault it is.
        if len(group) == 1:
            _note(group[0], error)
            return [group]
        half = len(group) // 2
        return [group[:half], group[half:]]

    def _committed(self, group: list[_Unit], results: Sequence[Any]) -> list[list[_Unit]]:
        again = []
        start = 0
        for unit in group:
            end = start + len(unit.operations)
            if any(_found_nothing(result) for result in results[start:end]):
                # the row it meant has gone in the meantime, and the plan does not know
                _note(unit, RefusedError("conflict", "the row to change is gone"))
                again.append(unit)
            else:
                self.commits += 1
                if not unit.done.done():
                    unit.done.set_result(True)
            start = end
        return [again] if again else []


def _one_each(units: list[_Unit]) -> tuple[list[_Unit], list[_Unit]]:
    """Return the first unit of each subject, and the others."""
    first: dict[str, _Unit] = {}
    later = [unit for unit in units if first.setdefault(unit.subject, unit) is not unit]
    return list(first.values()), later


def _note(unit: _Unit, error: RefusedError) -> None:
    """Remember why the unit was refused, for when its plan has nothing else to try."""
    unit.refused, unit.refusal = unit.operations, error
    unit.refusals += 1


def _found_nothing(result: Mapping[str, Any] | None) -> bool:
    return result is not None and result.get("count") == 0


def _fail(unit: _Unit, error: Exception) -> None:
    if not unit.done.done():
        unit.done.set_exception(error)
