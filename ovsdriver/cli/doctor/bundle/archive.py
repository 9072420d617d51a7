"""The file: parts that fit, and a manifest of what became of each."""

import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

MOST = 20_000_000
"""Bytes of all parts, before they are compressed."""
MOST_OF_ONE = 4_000_000
_RESERVE = 200_000
"""For the manifest."""
_CUT = b"\n(cut here: the rest does not fit)\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A part, or why there is none."""

    name: str
    """Of its file."""
    content: bytes
    failed: str
    """Empty: it is whole."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What the manifest says of a part."""

    name: str
    bytes: int
    seconds: float
    failed: str = ""
    cut: bool = False


def write(
    path: Path, about: dict[str, object], parts: Iterable[Gathered], changed: Callable[[str], str]
) -> Sequence[Line]:
    """Write a bundle, readable by its owner alone, and return its manifest's lines.

    Args:
        path: of the file, which is there when it is whole.
        about: what the manifest says beside.
        parts: in the order of their worth: the last ones are cut if not all fit.
        changed: takes out or replaces what must not be in a text.

    Raises:
        OSError: it cannot be written.
    """
    lines: list[Line] = []
    room = MOST - _RESERVE
    with _file(path) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for part in parts:
            text = changed(part.content.decode(errors="replace")).encode()
            content = _fitting(text, min(room, MOST_OF_ONE))
            room -= len(content)
            lines.append(
                Line(
                    name=changed(part.name),
                    bytes=len(content),
                    seconds=round(part.seconds, 3),
                    failed=changed(part.failed),
                    cut=len(content) < len(text),
                )
            )
            if content:
                _add(archive, changed(part.name), content)
        manifest = {**about, "parts": [asdict(each) for each in lines]}
        _add(archive, "manifest.json", json.dumps(manifest, indent=2).encode())
    return lines


def _fitting(content: bytes, most: int) -> bytes:
    if len(content) <= most:
        return content
    return content[: most - len(_CUT)] + _CUT if most > len(_CUT) else b""


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(f"ovsnet-support/{name}")
    info.size, info.mode, info.mtime = len(content), 0o600, int(time.time())
    archive.addfile(info, io.BytesIO(content))


@contextmanager
def _file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file beside ``path``, which takes its place at the end."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
