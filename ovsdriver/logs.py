"""Events, one a line: ``time level event key=value …`` on stderr, with the request's id.

Use::

    log = logging.getLogger(__name__)
    event(log, "endpoint.attached", network=network.id, endpoint=endpoint.id, took_ms=4.2)

Docker's ids are cut to 12 characters, as ``docker ps`` shows them. A value never breaks the
line: what is not a plain word is quoted and escaped.
"""

import logging
import re
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TextIO

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="")
"""Id of the request that is being served; empty outside of one. Tasks inherit it."""

LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_PLAIN = re.compile(r"[^\s\"'=\\]+")
_ID = re.compile(r"[0-9a-f]{64}")
_ID_KEYS = frozenset({"network", "endpoint", "container"})
_ID_LENGTH = 12


def event(
    log: logging.Logger,
    name: str,
    /,
    *,
    level: int = logging.INFO,
    error: BaseException | None = None,
    **fields: object,
) -> None:
    """Log one event.

    Args:
        log: the module's logger.
        name: what happened, as ``subject.verb``; never made of variable parts.
        level: one of logging's.
        error: its traceback becomes the last field; for faults of ours, not for refusals.
        fields: what it happened to; None leaves a field out.
    """
    if log.isEnabledFor(level):
        log.log(level, name, exc_info=error, extra={"fields": fields}, stacklevel=2)


class LineFormatter(logging.Formatter):
    """Renders a record, ours or a library's, as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        parts = [f"{stamp}.{int(record.msecs):03d}Z", record.levelname.lower()]
        fields: object = getattr(record, "fields", None)
        if isinstance(fields, dict):
            parts.append(_word(record.msg))
        else:  # a library's message is prose, not the name of an event
            parts.append("log.message")
            fields = {"logger": record.name, "text": record.getMessage()}
        if request := REQUEST.get():
            parts.append(f"request={request}")
        parts += [
            f"{key}={_value(key, value)}" for key, value in fields.items() if value is not None
        ]
        if record.exc_info:
            parts.append(f"traceback={_word(self.formatException(record.exc_info))}")
        return " ".join(parts)


def configure(level: str, *, stream: TextIO | None = None) -> None:
    """Send every logger's events of ``level`` (a key of ``LEVELS``) and above to ``stream``.

    Without a stream: stderr. A second call replaces the first.
    """
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    for former in root.handlers[:]:
        if isinstance(former.formatter, LineFormatter):
            root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(LEVELS[level])


def _value(key: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if key in _ID_KEYS or (len(text) == 64 and _ID.fullmatch(text)):
        text = text[:_ID_LENGTH]
    return _word(text)


def _word(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text) and text.isprintable():
        return text
    body = "".join(
        f"\\{char}" if char in '"\\' else char if char.isprintable() else _escaped(char)
        for char in text
    )
    return f'"{body}"'


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
