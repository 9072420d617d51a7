"""Tables and times for people, JSON for programs."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ovsdriver import codec
from ovsdriver.domain.records.model import Endpoint, Segment
from ovsdriver.domain.records.options import vlans
from ovsdriver.words import options
from ovsdriver.words.values import printable

ID_DIGITS = 12

_COUNTED = 10**9
"""Larger numbers of addresses are not counted out."""

_UNLIMITED = 10_000
"""Columns of a pipe, and of tables everywhere: nothing is cut, a terminal wraps by itself."""


def as_json(value: object) -> None:
    """Print ``value``, with the codec's forms of what is in it, for ``--json``."""
    click.echo(json_text(value, indent=2))


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return ``value`` as JSON that a terminal shows as it is."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=codec.plain)
    if text.replace("\n", "").isprintable():
        return text
    # Only inside of texts can there be others, but for the ends of lines.
    return "".join(
        each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print rows below their headings, without lines, as docker does."""
    _print(tabled(columns, rows), whole=True)


def tabled(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> Table:
    """Return what :func:`table` prints, for who shows it otherwise."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for column in columns:
        made.add_column(column, no_wrap=True)
    for row in rows:
        made.add_row(*map(_cell, row))
    return made


def facts(rows: Iterable[tuple[str, str | Text]]) -> None:
    """Print names and values, one a line."""
    grid((Text(name, style="bold"), _cell(value)) for name, value in rows)


def grid(rows: Iterable[Sequence[Text]]) -> None:
    """Print aligned columns, the last one folded where the terminal ends."""
    lines = list(rows)
    made = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for _ in lines[0][1:]:
        made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for each in lines:
        made.add_row(*map(_cell, each))
    _print(made)


def line(text: str | Text = "") -> None:
    """Print a line."""
    _print(_cell(text))


def _cell(text: str | Text) -> Text:
    """Return what is shown of ``text``, in which there may be words of anybody's."""
    if isinstance(text, str):
        return Text(printable(text))
    return text if text.plain.isprintable() else Text(printable(text.plain), style=text.style)


def listed(title: str, texts: Iterable[str], *, style: str = "") -> None:
    """Print texts below their title, after an empty line; nothing if there are none."""
    lines = list(texts)
    if lines:
        line()
        line(Text(title, style="bold"))
        for text in lines:
            line(Text(f"  {text}", style=style))


def short(identifier: str) -> str:
    """Return an id as docker shows it."""
    return identifier[:ID_DIGITS]


def addresses(endpoint: Endpoint) -> str:
    """Return an endpoint's addresses with their prefix lengths."""
    return ", ".join(map(str, endpoint.addresses)) or "-"


def segment(of: Segment) -> str:
    """Return which part of its bridge a network is: ``30``, or ``segment blue``."""
    return of.name if of.tag is None else vlan(of.tag)


def vlan(tag: int) -> str:
    """Return a tag as the user writes it."""
    return str(tag) if tag else "none"


def tunnelled(cvlans: Sequence[int]) -> str:
    """Return which tags of containers travel below a tunnel's."""
    return f"the tags {vlans.text(cvlans)}" if cvlans else "all tags"


def in_force(values: Mapping[str, str | None], scope: options.Scope) -> str:
    """Return what is in force of the options that `ovsnet set` changes."""
    changeable = {row.name for row in options.rows(scope) if not row.fixed}
    said = [f"{name}={value}" for name, value in values.items() if value and name in changeable]
    return "  ".join(said) or "-"


def time(epoch_s: float) -> str:
    """Return a time in UTC: ``2026-11-29 10:05:00``."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Return ``3 h 12 min`` and the like: the two largest units."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def plural(count: int, word: str, words: str = "") -> str:
    """Return ``1 endpoint``, ``2 endpoints``; ``words`` where an ``s`` does not do."""
    return f"{count} {word if count == 1 else words or f'{word}s'}"


def amount(addresses: int) -> str:
    """Return a number of addresses; the power of two that a large one, of IPv6, nearly is."""
    return str(addresses) if addresses < _COUNTED else f"2^{math.log2(addresses):.0f}"


def _print(what: Table | Text, *, whole: bool = False) -> None:
    console = Console(highlight=False)
    if whole or not console.is_terminal:
        console.width = _UNLIMITED
    with console.capture() as captured:
        console.print(what)
    for each in captured.get().splitlines():
        click.echo(each.rstrip())  # tables pad their last column
