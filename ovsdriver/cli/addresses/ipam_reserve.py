"""``ovsnet ipam reserve``."""

from collections.abc import Mapping
from typing import Any

import click

from ipam.model import Reservation
from ovsdriver.admin import asks
from ovsdriver.admin.views import Changes
from ovsdriver.cli import show, typed_file
from ovsdriver.cli.addresses import reservation_file
from ovsdriver.cli.daemon import ask, typed
from ovsdriver.cli.flags import JSON, settings_of
from ovsdriver.cli.outcome import EXIT_CODES, Refusal
from ovsdriver.config import Settings

_KINDS = ("added", "changed", "removed")


@click.command(
    name="reserve", epilog=EXIT_CODES, short_help="Keep addresses for containers, or list them."
)
@click.argument("address", default="")
@click.option("--name", default="", metavar="CONTAINER", help="The container that it is for.")
@click.option("--note", default="", metavar="TEXT", help="A remark; left out: as it was.")
@click.option("--network", default="", metavar="NAME", help="The network that it is of.")
@click.option("--pool", default="", metavar="POOL", help="The pool's id or subnet.")
@click.option("--space", default="", metavar="SPACE", help="The address space.")
@click.option("--replace", is_flag=True, help="Also if it is reserved for another name.")
@click.option("--remove", is_flag=True, help="Reserve ADDRESS no more.")
@click.option(
    "--file",
    "file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Reserve what FILE lists, all or nothing; - is standard input.",
)
@click.option(
    "--prune", is_flag=True, help="With --file: remove what its spaces have besides; may replace."
)
@click.option("--all-spaces", is_flag=True, help="With --prune: remove it in other spaces too.")
@click.option("--dry-run", is_flag=True, help="With --file: only show what would change.")
@settings_of("run_dir")
@JSON
@click.pass_context
def reserve(
    context: click.Context, /, settings: Settings, file: str | None, as_json: bool, **said: Any
) -> None:
    """Keep addresses for containers; without ADDRESS and --name, list those that are kept.

    The container with that name gets the address by itself. A reservation without a name is for
    any container that asks for the address: `docker run --ip ADDRESS`. No other container gets it.
    A reservation is of an address in a space. It outlives networks, and may be made before them.

    Docker tells the container's name from Engine 29 on. With an older one the name is a label
    only: type `--ip ADDRESS`. Without it no container gets the address either.

    Without --network, --pool and --space, ADDRESS is that of the only space with a pool that has
    it, else of the space `ovsnet`. Without ADDRESS, --name gets the lowest free address of the
    network's first pool, IPv4 if it has one; a name that has one there keeps it.

    \b
    Examples:
      ovsnet ipam reserve
      ovsnet ipam reserve --network lab
      ovsnet ipam reserve 172.24.0.7 --name web --note "in the firewall's rules"
      ovsnet ipam reserve --name web --network lab
      ovsnet ipam reserve --remove 172.24.0.7
      ovsnet ipam reserve --file /etc/ovsnet/reservations --prune --dry-run

    A file has one reservation a line, ADDRESS [NAME] [# NOTE]; a line `space NAME` says where
    those below it are, which is `ovsnet` at first. It may be given any number of times; with
    --prune it is the whole truth about the spaces that it names, and about `ovsnet`.

    \b
      172.24.0.7   web     # in the firewall's rules
      172.24.0.8           # for who says --ip
      space team1
      10.0.0.5     db
    """
    explicit = {
        name
        for name in (*said, "file")
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
    }
    _check(explicit, said)
    if file is not None:
        _apply(settings, file, said, as_json=as_json)
    elif said["remove"]:
        _remove(settings, said, as_json=as_json)
    elif said["address"] or said["name"]:
        _reserve(settings, said, as_json=as_json)
    else:
        _list(settings, said, as_json=as_json)


_WHERE = frozenset({"network", "pool", "space"})
_OF_FILES = frozenset({"prune", "all_spaces", "dry_run"})


def _check(given: set[str], said: Mapping[str, Any]) -> None:
    """Refuse what does not go together: half of what was typed would be passed over."""
    empty = sorted(each for each in given & (_WHERE | {"address", "name"}) if not said[each])
    if empty:  # a script that lost its variable
        raise click.UsageError(f"{_typed(empty)} is empty")
    if "file" in given:
        allowed, with_what = _OF_FILES | {"file", "replace"}, "--file"
        if said["all_spaces"] and not said["prune"]:
            raise click.UsageError("--all-spaces goes with --prune")
    elif said["remove"]:
        allowed, with_what = _WHERE | {"remove", "address"}, "--remove"
        if not said["address"]:
            raise click.UsageError("--remove needs the ADDRESS")
    elif said["address"] or said["name"]:
        allowed, with_what = _WHERE | {"address", "name", "note", "replace"}, "an address"
        if said["replace"] and not said["address"]:
            raise click.UsageError("--replace needs the ADDRESS")
    else:
        allowed, with_what = _WHERE, "a list; name an ADDRESS, or a container with --name"
    if wrong := sorted(given - allowed):
        raise click.UsageError(f"{_typed(wrong)} does not go with {with_what}")


def _typed(names: list[str]) -> str:
    words = ("ADDRESS" if each == "address" else f"--{each.replace('_', '-')}" for each in names)
    return ", ".join(words)


def _where(said: Mapping[str, Any]) -> dict[str, str]:
    return {name: said[name] for name in sorted(_WHERE)}


def _list(settings: Settings, said: Mapping[str, Any], *, as_json: bool) -> None:
    found = ask(settings, typed(asks.ListReservations, **_where(said)))
    if as_json:
        show.as_json(found)
        return
    show.table(
        ("ADDRESS", "SPACE", "CONTAINER", "NETWORK", "HELD NOW BY", "SINCE (UTC)", "NOTE"),
        [
            (
                str(each.reservation.address),
                each.reservation.space,
                each.reservation.name or "-",
                each.network_name or show.short(each.network or str(each.subnet or "-")),
                each.holder or "-",
                show.time(each.reservation.created),
                each.reservation.note or "-",
            )
            for each in found
        ],
    )


def _reserve(settings: Settings, said: Mapping[str, Any], *, as_json: bool) -> None:
    named = {name: said[name] for name in ("name", "note", "replace")}
    wish = typed(asks.Reserve, **named | _where(said) | {"address": said["address"] or None})
    made = ask(settings, wish)
    if as_json:
        show.as_json(made)
        return
    kept, found = made.reservation.reservation, made.reservation
    how = {"added": "reserved ", "changed": "changed: ", "same": "nothing to do: "}[made.outcome]
    is_ = "" if made.outcome == "added" else "is reserved "
    show.line(f"{how}{kept.address} of space {kept.space} {is_}{_for(kept.name)}")
    if found.pool is None:
        show.line("no network has that address now; it counts as soon as one of that space does")
    if found.holder and found.holder != f"container {kept.name}":
        show.line(f"{found.holder} has it now, and keeps it until it is released")


def _remove(settings: Settings, said: Mapping[str, Any], *, as_json: bool) -> None:
    removed = ask(settings, typed(asks.Unreserve, address=said["address"], **_where(said)))
    if as_json:
        show.as_json(removed)
    else:
        show.line(
            f"{removed.address} of space {removed.space} is reserved no more; it was "
            f"{_for(removed.name)}"
        )


def _apply(settings: Settings, path: str, said: Mapping[str, Any], *, as_json: bool) -> None:
    listed = reservation_file.parse(typed_file.content(path), typed_file.shown(path))
    try:
        wishes = typed(
            asks.ApplyReservations,
            reservations=[
                {"space": each.space, "address": each.address, "name": each.name, "note": each.note}
                for each in listed.lines
            ],
            prune=list(listed.spaces) if said["prune"] else [],
            prune_all=said["all_spaces"],
            # The file is the truth: for whom an address is, too.
            replace=said["replace"] or said["prune"],
            dry_run=said["dry_run"],
        )
        changes = ask(settings, wishes)
    except Refusal as error:
        raise Refusal(listed.located(error.message), error.code) from error
    if as_json:
        show.as_json(changes)
    else:
        _print_changes(changes)


def _print_changes(changes: Changes) -> None:
    for each in changes.added:
        show.line(f"+ {_line(each)}")
    for change in changes.changed:
        show.line(f"- {_line(change.before)}")
        show.line(f"+ {_line(change.after)}")
    for each in changes.removed:
        show.line(f"- {_line(each)}")
    counts = ", ".join(f"{len(getattr(changes, kind))} {kind}" for kind in _KINDS)
    would = "would be " if changes.dry_run else ""
    show.line(f"{would}{counts}, {changes.same} there already")


def _line(kept: Reservation) -> str:
    note = f"  # {kept.note}" if kept.note else ""
    return f"{kept.address} of space {kept.space} {_for(kept.name)}{note}"


def _for(name: str) -> str:
    return f"for container {name}" if name else "for containers that ask for it by address"
