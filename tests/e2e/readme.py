"""The examples of README as they stand there, and images for them that no registry is asked for.

An example is a fenced block. One of YAML begins with a comment that names its file, ``# web.yaml``.
Nothing in it is replaced: the images that it names are there, made of the machine's busybox.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e import image
from tests.e2e.bed import Bed
from tests.e2e.stage import Container

README = Path(__file__).parents[2] / "README.md"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"# ([\w-]+\.yaml)\b")

IMAGES = {
    "nginx": ["sh", "-c", image.SERVE],
    "alpine": ["sh"],
    "busybox": ["sh"],
    "nicolaka/netshoot": ["sh"],
}
"""What README's images run by themselves. ``nginx`` serves its host name."""


def text() -> str:
    """Return all of README."""
    return README.read_text("utf-8")


def blocks(language: str) -> list[str]:
    """Return the contents of the fenced blocks of a language."""
    return [block for found, block in _BLOCK.findall(text()) if found == language]


def compose_files() -> dict[str, str]:
    """Return the Compose files by the names that they begin with."""
    found = {}
    for block in blocks("yaml"):
        named = _NAME.match(block)
        assert named, f"a YAML block of README does not begin with the name of its file:\n{block}"
        assert named[1] not in found, f"README has two files {named[1]}"
        found[named[1]] = block
    return found


def import_images(bed: Bed) -> None:
    """Put the images of the examples on a bed."""
    archive = image.archive()
    for name, command in IMAGES.items():
        change = f"CMD {json.dumps(command)}"
        bed.run("docker", "import", "--change", change, "-", name, stdin=archive)


class Project:
    """A Compose file of README that is up."""

    def __init__(self, bed: Bed, name: str, files: tuple[str, ...]) -> None:
        self._bed = bed
        self.name = name
        self._files = files

    def compose(self, *words: str, **variables: str) -> str:
        """Run ``docker compose`` on the file, with variables for it."""
        said = [part for file in self._files for part in ("--file", file)]
        env = [f"{key}={value}" for key, value in variables.items()]
        command = ("docker", "compose", "--project-name", self.name, *said, "--progress", "plain")
        return self._bed.run("env", *env, *command, *words, timeout_s=120)

    def container(self, service: str) -> Container:
        """Return the only container of a service."""
        return Container(self._bed, f"{self.name}-{service}-1")

    def network(self, name: str) -> str:
        """Return what Docker calls a network of the file."""
        return f"{self.name}_{name}"


@contextmanager
def up(
    bed: Bed, name: str, *, override: Mapping[str, Any] | None = None, **variables: str
) -> Iterator[Project]:
    """Bring a Compose file of README up, and down again.

    Args:
        bed: where.
        name: of the file.
        override: another Compose file, laid over it, for what this machine's kernel lacks.
        variables: that the file asks for.
    """
    path = bed.home / name
    path.write_text(compose_files()[name])
    files = [path]
    if override:
        files.append(bed.home / f"override-{name}.json")
        files[-1].write_text(json.dumps(override))
    project = Project(bed, path.stem, tuple(map(str, files)))
    try:
        project.compose("up", "--detach", **variables)
        yield project
    finally:
        project.compose("down", "--volumes", "--timeout", "0", **variables)
        for file in files:
            file.unlink()
