"""How outcomes are written: lines for people, JUnit's XML for servers that build."""

from collections.abc import Sequence
from xml.etree import ElementTree

from rich.text import Text

from ovsdriver.cli import show
from ovsdriver.cli.doctor.trial.cases import Outcome, Result

_STYLES = {Outcome.OK: "green", Outcome.FAIL: "bold red", Outcome.NOT_TRIED: "yellow"}
_NAME_COLUMNS = 20
_OUTCOME_COLUMNS = 10


def line(result: Result) -> Text:
    """Return a case's line."""
    text = Text.assemble(
        (result.outcome.value.ljust(_OUTCOME_COLUMNS), _STYLES[result.outcome]),
        (result.name.ljust(_NAME_COLUMNS), "bold"),
    )
    if result.outcome is Outcome.OK:
        return text.append(f"{result.title}: {result.text}" if result.text else result.title)
    return text.append(result.text)


def last_line(results: Sequence[Result]) -> str:
    """Return how all of it ended."""
    counts = {each: sum(of.outcome is each for of in results) for each in Outcome}
    untried = f", {counts[Outcome.NOT_TRIED]} not tried" if counts[Outcome.NOT_TRIED] else ""
    tried = counts[Outcome.OK] + counts[Outcome.FAIL]
    if counts[Outcome.FAIL]:
        failed = f"{counts[Outcome.FAIL]} of {show.plural(tried, 'case')} failed{untried}"
        return f"{failed}; for a report, type `ovsnet support`"
    return f"{show.plural(tried, 'case')} passed{untried}"


def junit(results: Sequence[Result]) -> bytes:
    """Return JUnit's XML: a suite with an element for each case."""
    suite = ElementTree.Element(
        "testsuite",
        name="ovsnet test",
        tests=str(len(results)),
        failures=str(sum(each.outcome is Outcome.FAIL for each in results)),
        skipped=str(sum(each.outcome is Outcome.NOT_TRIED for each in results)),
        time=f"{sum(each.seconds for each in results):.3f}",
    )
    for each in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname="ovsnet",
            name=each.name,
            time=f"{each.seconds:.3f}",
        )
        kind = {Outcome.FAIL: "failure", Outcome.NOT_TRIED: "skipped"}.get(each.outcome)
        if kind is not None:
            ElementTree.SubElement(case, kind, message=_allowed(each.text))
    written: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return written


def _allowed(text: str) -> str:
    """Return a text without what XML has no place for."""
    return "".join(each if each.isprintable() else " " for each in text)
