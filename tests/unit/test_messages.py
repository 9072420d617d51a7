"""What a person is told is read once: refusals, findings, help, and hints are short and plain.

They are found in the source, by what they are given to. What is filled in counts as one word.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import ipam
import ovsdriver
from ipam import IpamError
from ovsdriver.errors import (
    ConflictError,
    DriverError,
    InvalidOptionError,
    UnsupportedError,
)

MOST = 30

SOURCES = tuple(
    (Path(package.__file__ or "").parent, path)
    for package in (ipam, ovsdriver)
    for path in sorted(Path(package.__file__ or "").parent.rglob("*.py"))
)


def classes(of: type[BaseException]) -> Iterator[str]:
    yield of.__name__
    for each in of.__subclasses__():
        yield from classes(each)


REFUSALS = {*classes(DriverError), *classes(IpamError)} | {
    *("ValueError", "Refusal", "UsageError", "RpcError", "UnreadableError", "refusal")
}
FINDINGS = {"ok", "warn", "fail", "good", "bad", "unsure"}
HELP = {"help", "short_help", "remedy", "sentence"}

TO_BE_ACTED_ON = {
    *classes(ConflictError),
    *classes(InvalidOptionError),
    *classes(UnsupportedError),
    *(set(classes(IpamError)) - {"IpamError", "StoreError"}),
}

READ_TWICE = re.compile(
    r"\b(ours?|us|somebody|someone|whoever|whomever|who asks|who has)\b"
    r"|\bwhat (is|was|would|can) \w+ (is|was|can|has)\b|\bsays something\b|\bone of it\b"
)


class Message(NamedTuple):
    place: str
    given_to: str
    text: str

    @property
    def words(self) -> int:
        return len(self.text.split())


def texts(node: ast.expr) -> Iterator[str]:
    """Give what an expression may say, with ``X`` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = (each.value if isinstance(each, ast.Constant) else "X" for each in node.values)
        yield "".join(map(str, parts))
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        for left in texts(node.left) if list(texts(node.left)) else ("X",):
            for right in texts(node.right) if list(texts(node.right)) else ("X",):
                yield left + right
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def told(tree: ast.Module, place: str) -> Iterator[Message]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            given_to = name(node.func)
            said = node.args if given_to in REFUSALS | FINDINGS else []
            hints = [each.value for each in node.keywords if each.arg in HELP]
            for each in [*said, *hints]:
                for text in texts(each):
                    yield Message(f"{place}:{each.lineno}", given_to, text)
        elif isinstance(node, ast.FunctionDef) and any(
            "command" in ast.unparse(each) or "group" in ast.unparse(each)
            for each in node.decorator_list
        ):
            for text in sentences(ast.get_docstring(node) or ""):
                yield Message(f"{place}:{node.lineno}", "help", text)


def sentences(help_text: str) -> Iterator[str]:
    """Give the sentences of a command's help; its examples are not read but copied."""
    for paragraph in help_text.split("\n\n"):
        if not paragraph.lstrip().startswith("\b"):
            yield from re.split(r"(?<=[.:;])\s+", paragraph)


@cache
def messages() -> Sequence[Message]:
    return tuple(
        message
        for package, path in SOURCES
        for message in told(
            ast.parse(path.read_text(encoding="utf-8")), str(path.relative_to(package.parent))
        )
    )


def shown(found: Iterator[Message]) -> str:
    return "\n".join(f"{each.place}: {each.text}" for each in found)


def test_the_messages_are_found() -> None:
    assert len(messages()) > 600
    kinds = {each.given_to for each in messages()}
    assert kinds >= {"ConflictError", "ValueError", "Refusal", "warn", "option", "help"}


def test_no_message_is_longer_than_thirty_words() -> None:
    assert not shown(each for each in messages() if each.words > MOST)


def test_no_message_has_to_be_read_twice() -> None:
    assert not shown(each for each in messages() if READ_TWICE.search(each.text))


def test_what_can_be_done_about_a_refusal_is_behind_a_semicolon_or_a_colon() -> None:
    assert not shown(
        each
        for each in messages()
        if each.given_to in TO_BE_ACTED_ON and not re.search("[;:]", each.text)
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param('fail("a", "b c", f"{d} e")', [1, 2, 2], id="a finding with its remedy"),
        pytest.param('ConflictError(f"a {b} c" if d else "e")', [3, 1], id="one of two"),
        pytest.param('ConflictError("a b " + c)', [3], id="put together"),
        pytest.param('option("--a", help="a b c")', [3], id="an option's help"),
        pytest.param('log.info("a b")', [], id="a log line is no message"),
        pytest.param(
            '@click.command()\ndef a():\n    """One. Two words.\n\n    \b\n    x y z\n    """',
            [1, 2],
            id="a command's help, by sentences",
        ),
    ],
)
def test_messages_are_counted_by_what_is_read(source: str, words: list[int]) -> None:
    assert [each.words for each in told(ast.parse(source), "here")] == words
