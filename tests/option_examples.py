"""What the examples in the rows of the option table type."""

import shlex
from itertools import pairwise

from ovsdriver.words.options import Option, Scope

_OPT = "driver-opt="


def typed(row: Option, scope: Scope | None = None) -> dict[str, str]:
    """Options that a row's example types after its command, those of ``scope`` or of its own."""
    words = shlex.split(row.scope.command.replace("EXAMPLE", row.example))
    scope = scope or row.scope
    if scope is Scope.ENDPOINT:
        listed = words[words.index("--network") + 1] if "--network" in words else ""
        found = [each[len(_OPT) :] for each in listed.split(",") if each.startswith(_OPT)]
    else:
        flag = {Scope.NETWORK: "-o", Scope.IPAM: "--ipam-opt"}[scope]
        found = [word for before, word in pairwise(words) if before == flag]
    return dict(each.split("=", 1) for each in found)
