"""What only a process of its own may do well: traces and captures, by the commands of those names.

They go into containers' namespaces and wait there, which is no work for a server's loop; a command
ends with its process, whatever becomes of the page. Nothing is read by a shell.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ovsdriver.web.asking import AnsweredError

TRACE_S = 30.0
CAPTURE_MOST_S = 3600.0
_BEGIN_S = 15.0
"""For a capture to have opened its sockets."""
_PIECE = 1 << 16
_PREFIX = "ovsnet: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Starts ``ovsnet`` with the settings of this server."""

    flags: Sequence[str]
    """``--run-dir`` and its value."""
    trace_flags: Sequence[str]
    """Those and what else ``trace`` takes."""

    async def trace(self, source: str, target: str, what: str) -> Mapping[str, object]:
        """Return what ``ovsnet trace --json`` says; AnsweredError with its sentence."""
        words = [source, target, *([what] if what else [])]
        program = await _start("trace", *self.trace_flags, "--json", "--", *words)
        try:
            async with asyncio.timeout(TRACE_S):
                out, err = await program.communicate()
        except TimeoutError as error:
            raise AnsweredError(f"the trace did not end in {TRACE_S:g} s", 504) from error
        finally:
            await _end(program)
        try:
            found = json.loads(out)
        except ValueError as error:
            raise AnsweredError(_sentence(err), 400) from error
        if not isinstance(found, dict):
            raise AnsweredError("the trace has no answer that can be read", 502)
        return found

    async def capture(
        self, target: str, *, seconds: float, count: int | None, only: str
    ) -> AsyncGenerator[bytes, None]:
        """Yield a pcap file as it grows; AnsweredError with a sentence if it does not begin."""
        limits = ["--seconds", f"{seconds:g}", *(["--count", str(count)] if count else [])]
        chosen = ["--filter", only] if only else []
        program = await _start(
            "capture", *self.flags, "--write", "-", *limits, *chosen, "--", target
        )
        try:
            assert program.stdout is not None  # noqa: S101 - it is a pipe
            assert program.stderr is not None  # noqa: S101
            async with asyncio.timeout(_BEGIN_S):
                first = await program.stdout.read(_PIECE)
                if not first:
                    raise AnsweredError(_sentence(await program.stderr.read()), 400)
            yield first
            while piece := await program.stdout.read(_PIECE):
                yield piece
        except TimeoutError as error:
            raise AnsweredError(f"the capture did not begin in {_BEGIN_S:g} s", 504) from error
        finally:
            await _end(program)


async def _start(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "ovsdriver",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _end(program: asyncio.subprocess.Process) -> None:
    if program.returncode is None:
        with suppress(ProcessLookupError):
            program.kill()
        await program.wait()


def _sentence(err: bytes) -> str:
    """Return what a command said; of a wrong command line, its last line."""
    lines = [each for each in err.decode(errors="replace").splitlines() if each.strip()]
    said = [each.removeprefix(_PREFIX) for each in lines if each.startswith(_PREFIX)]
    return "\n".join(said) or (lines[-1].removeprefix("Error: ") if lines else "no answer")
