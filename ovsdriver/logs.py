"""Events, one a line: ``time level event key=value …`` on stderr, with the request's id.

Use::

    log = logging.getLogger(__name__)
    event(log, "endpoint.attached", network=network.id, endpoint=endpoint.id, took_ms=4.2)

or, where a module prefers it, ``log.info("endpoint.attached", extra={"network": …})``: the same
line, but ``extra`` refuses the names that logging keeps for itself (``name``, ``args``, …).

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

_FIELDS = "event_fields"
_PLAIN = re.compile(r"[^\s\"'=\\]+")
_EVENT = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
_ID = re.compile(r"[0-9a-f]{64}")
_ID_KEYS = frozenset({"network", "endpoint", "container"})
_ID_LENGTH = 12

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", _FIELDS}
"""What a record has of itself; anything else in it came with ``extra``."""


def event(
    log: logging.Logger,
    name: str,
    /,
    *,
    level: int = logging.INFO,
    fault: BaseException | None = None,
    **fields: object,
) -> None:
    """Log one event.

    Args:
        log: the module's logger.
        name: what happened, as ``subject.verb``; never made of variable parts.
        level: one of logging's.
        fault: its traceback becomes the last field; for faults of ours, not for refusals.
        fields: what it happened to; None leaves a field out.
    """
    if not log.isEnabledFor(level):
        return
    # Made here and not by log.log(), which walks the stack to find a line number nobody sees:
    # half of an event's cost.
    trace = (type(fault), fault, fault.__traceback__) if fault is not None else None
    record = logging.LogRecord(log.name, level, "", 0, name, None, trace)
    setattr(record, _FIELDS, fields)
    log.handle(record)


class LineFormatter(logging.Formatter):
    """Renders a record, ours or a library's, as one line."""

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._stamp = ""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        name, fields = _event(record)
        parts = [self._time(record), record.levelname.lower(), name]
        if request := REQUEST.get():
            parts.append(f"request={request}")
        for key, value in fields.items():
            if value is not None:
                parts.append(f"{key}={_value(key, value)}")
        if record.exc_info:
            parts.append(f"traceback={_word(self.formatException(record.exc_info))}")
        return " ".join(parts)

    def _time(self, record: logging.LogRecord) -> str:
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int(record.created % 1 * 1000):03d}Z"


def _event(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    """Return name and fields of a record, whichever way it was logged."""
    fields: Mapping[str, object] | None = getattr(record, _FIELDS, None)
    if fields is not None:
        return str(record.msg), fields
    extra = {key: value for key, value in vars(record).items() if key not in _OWN}
    if not record.args and isinstance(record.msg, str) and _EVENT.fullmatch(record.msg):
        return record.msg, extra
    # A library's message is prose, not the name of an event.
    return "log.message", {"logger": record.name, "text": record.getMessage(), **extra}


def configure(level: str, *, stream: TextIO | None = None) -> None:
    """Send every logger's events of ``level`` (a key of ``LEVELS``) and above to ``stream``.

    Without a stream: stderr. A second call replaces the first.
    """
    # Nobody sees these in our lines, and asking for them costs as much as the rest of a record
    # (docs.python.org, howto/logging, "Optimization").
    for part in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, part, False)
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
