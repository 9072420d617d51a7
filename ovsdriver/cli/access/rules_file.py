"""Files of access rules: one a line.

# comments and empty lines are passed over
allow to api.github.com tcp/443
deny 10.0.0.0/8               # what is inside
"""

from dataclasses import dataclass

from ovsdriver.cli import typed_file
from ovsdriver.cli.outcome import Refusal
from ovsdriver.words import access_words

_BYTES = 1 << 20
_VERBS = ("allow", "deny")


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesFile:
    """A file that was read: rules, as they can be typed."""

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()


def parse(content: bytes, path: str) -> RulesFile:
    """Read a file.

    Raises:
        Refusal: with the line that is wrong.
    """
    text = typed_file.text(content, path, of="rules", most_bytes=_BYTES)
    found: dict[str, list[str]] = {verb: [] for verb in _VERBS}
    for number, line in enumerate(text.split("\n"), start=1):
        verb, _, said = line.partition("#")[0].strip().partition(" ")
        if not verb:
            continue
        try:
            if verb.lower() not in _VERBS:
                raise ValueError("write `allow RULE` or `deny RULE`")  # noqa: TRY301
            found[verb.lower()] += [each.text for each in access_words.parse(said)]
        except ValueError as error:
            raise Refusal(f"{path} line {number}: {error}") from error
    return RulesFile(allow=tuple(found["allow"]), deny=tuple(found["deny"]))
