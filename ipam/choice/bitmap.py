"""A sparse set of integers that knows its lowest absent member; pure.

The members are bits in words of 512. Above them stand as many levels as the set needs: bit n of
a level says that word n of the level below is full. The search for the lowest absent member goes
up until a word is not full and comes down again, so its cost is the logarithm (to base 512) of
how many are *in* the set: two levels for 10^5, three for 10^8. Neither the range nor the way in
which the set is fragmented matters. A word without members takes no memory, and all full words
are the same object.

The word's size is a compromise: every change copies one word, every level is one more look-up.
Measured on CPython 3.13, anything from 128 to 2048 bits is about as fast; 64 and 4096 are not.
"""

from collections.abc import Iterable, Iterator, Mapping

WORD_SHIFT = 9
WORD_BITS = 1 << WORD_SHIFT
_LAST = WORD_BITS - 1
_FULL = (1 << WORD_BITS) - 1


def pack(members: Iterable[int]) -> dict[int, int]:
    """Return the words of a set: word number -> bits, bit ``b`` of word ``n`` is ``512 n + b``.

    Args:
        members: each once, in ascending order, as a store's index gives them.
    """
    words: dict[int, int] = {}
    number, flags = -1, bytearray(WORD_BITS)
    for member in members:
        if member >> WORD_SHIFT != number:
            if number >= 0:
                words[number] = _word(flags)
                flags = bytearray(WORD_BITS)
            number = member >> WORD_SHIFT
        flags[_LAST - (member & _LAST)] = 1
    if number >= 0:
        words[number] = _word(flags)
    return words


def fill(words: dict[int, int], first: int, last: int) -> None:
    """Put ``first`` to ``last``, both included, into words as :func:`pack` makes them.

    The cost is that of the words, not of the members.
    """
    low, high = first >> WORD_SHIFT, last >> WORD_SHIFT
    for number in range(low, high + 1):
        word = _FULL
        if number == low:
            word &= _FULL << (first & _LAST)
        if number == high:
            word &= (2 << (last & _LAST)) - 1
        words[number] = _FULL if word == _FULL else words.get(number, 0) | word


_DIGITS = bytes.maketrans(b"\0\1", b"01")


def _word(flags: bytearray) -> int:
    """Return 512 flags, highest first, as one integer: several times faster than shifting."""
    return int(flags.translate(_DIGITS), 2)


class Bitmap:
    """The set itself. Members are zero or more; the caller bounds them."""

    __slots__ = ("_count", "_levels")

    def __init__(self, words: Mapping[int, int] | None = None) -> None:
        """Start empty, or from what :func:`pack` made."""
        self._levels: list[dict[int, int]] = [{}]
        self._count = 0
        bottom = self._levels[0]
        for number, word in (words or {}).items():
            self._count += word.bit_count()
            if word == _FULL:
                bottom[number] = _FULL
                self._fill(1, number)
            else:
                bottom[number] = word

    def copy(self) -> "Bitmap":
        """Return a set with the same members."""
        return Bitmap(self._levels[0])

    def __len__(self) -> int:
        return self._count

    def __contains__(self, member: int) -> bool:
        return bool(self._levels[0].get(member >> WORD_SHIFT, 0) >> (member & _LAST) & 1)

    def __iter__(self) -> Iterator[int]:
        """Yield the members, ascending."""
        bottom = self._levels[0]
        for number in sorted(bottom):
            word = bottom[number]
            while word:
                yield (number << WORD_SHIFT) + (word & -word).bit_length() - 1
                word &= word - 1

    def add(self, member: int) -> bool:
        """Put ``member`` in; False if it was."""
        bottom = self._levels[0]
        number = member >> WORD_SHIFT
        word = bottom.get(number, 0)
        changed = word | (1 << (member & _LAST))
        if changed == word:
            return False
        self._count += 1
        if changed == _FULL:
            bottom[number] = _FULL
            self._fill(1, number)
        else:
            bottom[number] = changed
        return True

    def discard(self, member: int) -> bool:
        """Take ``member`` out; False if it was not in."""
        bottom = self._levels[0]
        number = member >> WORD_SHIFT
        word = bottom.get(number, 0)
        bit = 1 << (member & _LAST)
        if not word & bit:
            return False
        self._count -= 1
        if word == bit:
            del bottom[number]
        else:
            bottom[number] = word ^ bit
        if word == _FULL:
            self._unfill(number)
        return True

    def lowest_absent(self, start: int) -> int:
        """Return the lowest integer from ``start`` on that is not a member."""
        levels = self._levels
        level, number = 0, start >> WORD_SHIFT
        word = levels[0].get(number, 0) | ((1 << (start & _LAST)) - 1)
        while word == _FULL:
            level, number = level + 1, number + 1
            if level == len(levels):
                break  # no word of the highest level is full, or there would be one above it
            word = levels[level].get(number >> WORD_SHIFT, 0) | ((1 << (number & _LAST)) - 1)
            number >>= WORD_SHIFT
        else:
            number = (number << WORD_SHIFT) + (~word & (word + 1)).bit_length() - 1
        while level:
            level -= 1
            word = levels[level].get(number, 0)
            number = (number << WORD_SHIFT) + (~word & (word + 1)).bit_length() - 1
        return number

    def count(self, first: int, last: int) -> int:
        """Return how many members lie in ``first`` to ``last``, both included.

        The cost is that of the words in use, not of the range.
        """
        low, high = first >> WORD_SHIFT, last >> WORD_SHIFT
        total = 0
        for number, word in self._levels[0].items():
            if low <= number <= high:
                if number == low:
                    word = word >> (first & _LAST) << (first & _LAST)
                if number == high:
                    word &= (2 << (last & _LAST)) - 1
                total += word.bit_count()
        return total

    def _fill(self, level: int, number: int) -> None:
        """Note that word ``number`` of the level below ``level`` became full."""
        while True:
            if level == len(self._levels):
                self._levels.append({})
            words = self._levels[level]
            upper = number >> WORD_SHIFT
            word = words.get(upper, 0) | (1 << (number & _LAST))
            if word != _FULL:
                words[upper] = word
                return
            words[upper] = _FULL
            level, number = level + 1, upper

    def _unfill(self, number: int) -> None:
        """Note that word ``number`` of the lowest level is not full any more."""
        for words in self._levels[1:]:
            upper = number >> WORD_SHIFT
            word = words[upper]
            changed = word ^ (1 << (number & _LAST))
            if changed:
                words[upper] = changed
            else:
                del words[upper]
            if word != _FULL:
                return
            number = upper
