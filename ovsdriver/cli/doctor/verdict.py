"""What was looked at, as people read it."""

from collections.abc import Sequence

from rich.text import Text

from ovsdriver.cli import show
from ovsdriver.cli.doctor import Finding, Level

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}


def print_findings(findings: Sequence[Finding], *, bad: str, warned: str) -> None:
    """Print findings with what to do, and a last line.

    Args:
        findings: in order.
        bad: the last line if there are faults, with ``{}`` for how many things those are.
        warned: the last line if there are warnings only, with ``{}`` for how many.
    """
    rows: list[tuple[Text, ...]] = []
    for each in findings:
        level = Text(each.level.value, style=_STYLES[each.level])
        rows.append((level, Text(each.subject, style="bold"), Text(each.text)))
        if each.remedy:
            rows.append((Text(), Text(), Text(f"-> {each.remedy}", style="cyan")))
    show.grid(rows)
    faults = sum(each.level is Level.FAIL for each in findings)
    warnings = sum(each.level is Level.WARN for each in findings)
    show.line()
    if faults:
        show.line(bad.format(show.plural(faults, "thing")))
    elif warnings:
        show.line(warned.format(show.plural(warnings, "warning")))
    else:
        show.line("all is well")
