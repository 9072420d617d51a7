"""Addresses that are kept for someone, in every space; pure."""

from collections.abc import Iterable, Iterator, Sequence

from netaddr import IPAddress

from ipam import checks, refusals
from ipam.errors import one_of_several
from ipam.model import Pool, Reservation

MOST = 10_000
"""Of a space: each is looked at when a pool of it is made."""


class Reservations:
    """One for each address of a space, whether the address has a pool or not."""

    __slots__ = ("_spaces",)

    def __init__(self, reservations: Iterable[Reservation] = ()) -> None:
        self._spaces: dict[str, dict[IPAddress, Reservation]] = {}
        for each in reservations:
            self.put(each)

    def __iter__(self) -> Iterator[Reservation]:
        """Give all by space and ascending address."""
        for _, of_space in sorted(self._spaces.items()):
            yield from (of_space[address] for address in sorted(of_space))

    def get(self, space: str, address: IPAddress) -> Reservation | None:
        """Return the reservation of an address."""
        return self._spaces.get(space, {}).get(address)

    def inside(self, pool: Pool) -> Sequence[Reservation]:
        """Return those of a pool's addresses, ascending."""
        of_space = self._spaces.get(pool.space, {})
        return [of_space[each] for each in sorted(of_space) if each in pool.subnet]

    def put(self, reservation: Reservation) -> None:
        """Keep one, in place of an earlier one of its address."""
        self._spaces.setdefault(reservation.space, {})[reservation.address] = reservation

    def drop(self, space: str, address: IPAddress) -> Reservation | None:
        """Forget one, and return it; None if there was none."""
        of_space = self._spaces.get(space, {})
        dropped = of_space.pop(address, None)
        if not of_space:
            self._spaces.pop(space, None)
        return dropped

    def check(self, wanted: Sequence[Reservation], *, replace: bool) -> None:
        """Refuse what makes no sense by itself, or beside those that are there.

        Raises:
            InvalidReservationError: a space, an address, a name or a note that cannot be.
            ReservedError: the address is kept for somebody else; not if ``replace``.
        """
        seen: dict[tuple[str, IPAddress], Reservation] = {}
        for index, each in enumerate(wanted):
            key = (each.space, each.address)
            with one_of_several(index):
                checks.reservation(each)
                earlier = seen.get(key) or self.get(*key)
                other = earlier is not None and earlier.name != each.name
                if earlier is not None and other and (key in seen or not replace):
                    raise refusals.reserved_already(each, earlier)
            seen[key] = each
        for space in {each.space for each in wanted}:
            there = set(self._spaces.get(space, {}))
            there |= {each.address for each in wanted if each.space == space}
            if len(there) > MOST:
                raise refusals.too_many_reservations(space, MOST)
