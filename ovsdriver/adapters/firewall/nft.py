"""nftables through libnftables, in this process: JSON in, JSON out.

CreateNetwork waits for our table, so no ``nft`` is forked. The library's documented interface is
six functions (libnftables(3), libnftables-json(5)); they block, keep state in their context, and
speak with the kernel in the network namespace of the thread that made it. So everything here
belongs on one worker thread.
"""

import ctypes
import json
import re
from collections.abc import Sequence
from typing import Any

from ovsdriver.adapters.firewall.expressions import Object
from ovsdriver.errors import UnavailableError

_LIBRARY = "libnftables.so.1"

# nftables/libnftables.h
_OUTPUT_STATELESS = 1 << 2
_OUTPUT_HANDLE = 1 << 3
_OUTPUT_JSON = 1 << 4
_OUTPUT_NUMERIC_PROTO = 1 << 7
_OUTPUT_NUMERIC_PRIO = 1 << 8

_ABSENT = "No such file or directory"

_WHERE = re.compile(r"^internal:0:0-0: (Error: )?", re.MULTILINE)
"""What libnftables has in place of a line number: there are no lines in JSON."""

_TRIES = 3


class NftError(UnavailableError):
    """libnftables or the kernel refused a transaction; nothing of it was done."""


def is_absent(error: NftError) -> bool:
    """Whether what was asked for is not there."""
    return _ABSENT in str(error)


class Nft:
    """One context of libnftables. Not for more than one thread."""

    def __init__(self, *, counting: bool = False) -> None:
        """Load the library and open its netlink socket.

        Args:
            counting: print also what counters say, and how long elements will stay.

        Raises:
            UnavailableError: the library is not there, or the socket cannot be opened.
        """
        self._library = _load()
        self._context = self._library.nft_ctx_new(0)
        if not self._context:
            raise UnavailableError(
                "libnftables could not be initialised; load nf_tables (modprobe nf_tables), and "
                "run ovsnet as root"
            )
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)
        self._library.nft_ctx_output_set_flags(
            self._context,
            _OUTPUT_JSON
            | _OUTPUT_HANDLE
            | (0 if counting else _OUTPUT_STATELESS)
            | _OUTPUT_NUMERIC_PROTO
            | _OUTPUT_NUMERIC_PRIO,
        )

    def close(self) -> None:
        """Close the socket and free the context."""
        if self._context:
            self._library.nft_ctx_free(self._context)
            self._context = None

    def run(self, commands: Sequence[Object]) -> list[Object]:
        """Run commands as one transaction and return the objects that they print.

        Raises:
            NftError: refused as a whole, with libnftables' words.
        """
        text = json.dumps({"nftables": list(commands)}).encode()
        status = self._library.nft_run_cmd_from_buffer(self._context, text)
        # Buffers are emptied by the next run, so both are read at once.
        output: bytes = self._library.nft_ctx_get_output_buffer(self._context) or b""
        error: bytes = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if status:
            said = _WHERE.sub("", error.decode(errors="replace").strip()).splitlines()
            raise NftError(f"nftables refused: {said[0] if said else 'no reason given'}")
        if not output.strip():
            return []
        printed: list[Object] = json.loads(output)["nftables"]
        return [each for each in printed if "metainfo" not in each]

    def list_chains(self) -> list[Object]:
        """Return every chain of every table, without rules."""
        return _inner("chain", self.run([{"list": {"chains": None}}]))

    def list_ruleset(self) -> list[Object]:
        """Return all tables, chains, rules, sets and maps, with elements."""
        return self.run([{"list": {"ruleset": None}}])

    def list_rules(self, chain: Object) -> list[Object]:
        """Return the rules of a chain; none if it is gone."""
        return _inner("rule", self._list("chain", chain, chain["name"]))

    def list_map(self, chain: Object, name: str) -> list[Any]:
        """Return the pairs of a named map of the chain's table; none if it is gone."""
        found = _inner("map", self._list("map", chain, name))
        return [pair for each in found for pair in each.get("elem", ())]

    def _list(self, kind: str, beside: Object, name: str) -> list[Object]:
        where = {"family": beside["family"], "table": beside["table"], "name": name}
        try:
            return self.run([{"list": {kind: where}}])
        except NftError as error:
            if is_absent(error):
                return []
            raise


class Table:
    """Our table, family ``inet``: replaced as a whole, compared with what stands.

    What stands is right if it prints as what was rendered. Where another libnftables writes the
    same rules in other words it is right if it prints as it did when we had just written it;
    then only a restarted daemon writes once more than needed.

    Where it is known that nobody else touched the table, a difference in sets and maps alone (a
    network or a published port more or less) is written as just that: for 500 networks some
    0.3 ms instead of 5.
    """

    def __init__(self, nft: Nft, name: str) -> None:
        self._nft = nft
        self._where = {"family": "inet", "name": name}
        self._wanted: list[Object] | None = None
        self._written: list[Object] | None = None

    def ensure(self, objects: Sequence[Object], *, trusted: bool = False) -> bool:
        """Make the table exactly ``objects``, or absent if there are none.

        Args:
            objects: as ``nft_rules.render`` gives them.
            trusted: nobody else has changed the table since the last call.

        Returns:
            False if it was so already.

        Raises:
            NftError: refused; the table is as it was.
            UnavailableError: someone else changes it as fast as it is written.
        """
        wanted = comparable(objects)
        if trusted and wanted and self._wanted:
            if wanted == self._wanted:
                return False
            if self._amend(wanted):
                return True
        standing = self.standing()
        if not wanted:
            return self.remove() if standing is not None else False
        if standing is not None and self._is_right(standing, wanted):
            return False
        for _ in range(_TRIES):
            self._nft.run([*self._deletion(), {"add": {"table": self._where}}, *_adds(objects)])
            standing = self.standing()
            if standing is not None and _census(standing) == _census(wanted):
                self._wanted, self._written = wanted, standing
                return True
        raise UnavailableError(
            f"another program changes nftables table inet {self._where['name']} as soon as ovsnet "
            "has written it; `nft monitor` shows which one"
        )

    def stands(self, objects: Sequence[Object]) -> bool:
        """Whether the table is exactly ``objects``, or absent if there are none."""
        wanted, standing = comparable(objects), self.standing()
        if not wanted or standing is None:
            return not wanted and standing is None
        return self._is_right(standing, wanted)

    def _is_right(self, standing: list[Object], wanted: list[Object]) -> bool:
        if standing == wanted:
            self._wanted, self._written = wanted, standing
            return True
        if wanted != self._wanted:
            return False
        if self._written is None and _census(standing) == _census(wanted):
            # amended since it was last looked at
            self._written = standing
        return standing == self._written

    def _amend(self, wanted: list[Object]) -> bool:
        """Write a difference in elements of sets; False if there is another, or it is refused."""
        commands = _difference(self._wanted or [], wanted)
        if not commands:
            return False
        try:
            self._nft.run(commands)
        except NftError:
            # not as it was thought to be: look, and replace it
            return False
        self._wanted, self._written = wanted, None
        return True

    def remove(self) -> bool:
        """Delete the table; False if it is not there."""
        self._wanted = self._written = None
        if self.standing() is None:
            return False
        self._nft.run(self._deletion())
        return True

    def standing(self) -> list[Object] | None:
        """Return what stands in the table, comparable; None if there is no table."""
        try:
            listed = self._nft.run([{"list": {"table": self._where}}])
        except NftError as error:
            if is_absent(error):
                return None
            raise
        return comparable(each for each in listed if "table" not in each)

    def _deletion(self) -> list[Object]:
        # Adding what is there changes nothing, and deleting needs that it is there: together
        # they delete what may or may not be. (`destroy` does so alone, since Linux 6.3.)
        return [{"add": {"table": self._where}}, {"delete": {"table": self._where}}]


def comparable(objects: Any) -> list[Object]:
    """Return ``objects`` so that two lists of the same rules are equal.

    Handles are dropped; elements of sets have no order; of chains and sets none matters, rules
    keep theirs within their chain.
    """
    keyed = []
    for position, each in enumerate(objects):
        ((kind, described),) = each.items()
        plain = {key: value for key, value in described.items() if key != "handle"}
        if "elem" in plain:
            plain["elem"] = sorted(plain["elem"], key=_element_key)
        keyed.append((kind, plain.get("chain", ""), plain.get("name", ""), position, {kind: plain}))
    keyed.sort(key=lambda item: item[:4])
    return [item[-1] for item in keyed]


def _element_key(element: str | Object) -> str:
    return element if isinstance(element, str) else json.dumps(element, sort_keys=True)


def _difference(before: Sequence[Object], after: Sequence[Object]) -> list[Object]:
    """Return commands from one list to the other; none if more than elements of sets differ."""
    commands: list[Object] = []
    if len(before) != len(after):
        return []
    for old, new in zip(before, after, strict=True):
        if old == new:
            continue
        kind = next(iter(old))
        if kind not in ("set", "map") or _without_elements(old) != _without_elements(new):
            return []
        where = {key: new[kind][key] for key in ("family", "table", "name")}
        gone, come = _elements(old) - _elements(new), _elements(new) - _elements(old)
        for verb, found in (("delete", gone), ("add", come)):
            if found:
                element = {**where, "elem": [json.loads(text) for text in sorted(found)]}
                commands.append({verb: {"element": element}})
    return commands


def _elements(each: Object) -> set[str]:
    (described,) = each.values()
    return {json.dumps(element) for element in described.get("elem", ())}


def _without_elements(each: Object) -> Object:
    return {
        kind: {key: value for key, value in described.items() if key != "elem"}
        for kind, described in each.items()
    }


def _census(objects: Sequence[Object]) -> list[tuple[str, str, int]]:
    """Return what is in a table and how much of it, whatever words it is printed in."""
    return [
        (kind, described.get("chain") or described.get("name", ""), len(described.get("elem", ())))
        for each in objects
        for kind, described in each.items()
    ]


def _adds(objects: Sequence[Object]) -> list[Object]:
    return [{"add": each} for each in objects]


def _inner(kind: str, objects: Sequence[Object]) -> list[Object]:
    return [each[kind] for each in objects if kind in each]


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise UnavailableError(
            f"{_LIBRARY} cannot be loaded ({error}); type: apt-get install libnftables1"
        ) from error
    context = ctypes.c_void_p
    library.nft_ctx_new.argtypes = [ctypes.c_uint32]
    library.nft_ctx_new.restype = context
    library.nft_ctx_free.argtypes = [context]
    library.nft_ctx_free.restype = None
    library.nft_ctx_buffer_output.argtypes = [context]
    library.nft_ctx_buffer_error.argtypes = [context]
    library.nft_ctx_output_set_flags.argtypes = [context, ctypes.c_uint]
    library.nft_ctx_output_set_flags.restype = None
    library.nft_run_cmd_from_buffer.argtypes = [context, ctypes.c_char_p]
    library.nft_run_cmd_from_buffer.restype = ctypes.c_int
    library.nft_ctx_get_output_buffer.argtypes = [context]
    library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
    library.nft_ctx_get_error_buffer.argtypes = [context]
    library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
    return library
