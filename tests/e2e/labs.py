"""The labs of ``ansible/labs`` as they stand there, and images for them without a registry.

Nothing in a lab is replaced: the images that it names are there, made of the machine's busybox.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.e2e import image
from tests.e2e.bed import Bed
from tests.e2e.documents import REPOSITORY
from tests.e2e.stage import Container

LABS = REPOSITORY / "ansible" / "labs"

IMAGES = {
    "nginx": ["sh", "-c", image.SERVE],
    "alpine": ["sh"],
    "busybox": ["sh"],
    "nicolaka/netshoot": ["sh"],
}
"""What the images of labs and documents run by themselves. ``nginx`` serves its host name."""


def import_images(bed: Bed) -> None:
    """Put the images of labs and documents on a bed."""
    archive = image.archive()
    for name, command in IMAGES.items():
        change = f"CMD {json.dumps(command)}"
        bed.run("docker", "import", "--change", change, "-", name, stdin=archive)


class Lab:
    """A lab that is up."""

    def __init__(self, bed: Bed, name: str, files: tuple[str, ...]) -> None:
        self._bed = bed
        self.name = name
        self._files = files

    def compose(self, *words: str, **variables: str) -> str:
        """Run ``docker compose`` on the file, with variables for it."""
        said = [part for file in self._files for part in ("--file", file)]
        env = [f"{key}={value}" for key, value in variables.items()]
        command = ("docker", "compose", *said, "--progress", "plain")
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
) -> Iterator[Lab]:
    """Bring a lab up, and down again.

    Args:
        bed: where.
        name: of the file.
        override: another Compose file, laid over it, for what this machine's kernel lacks.
        variables: that the file asks for.
    """
    path = LABS / name
    files = [path]
    if override:
        files.append(bed.home / f"override-{name}.json")
        files[-1].write_text(json.dumps(override))
    lab = Lab(bed, path.stem, tuple(map(str, files)))
    try:
        lab.compose("up", "--detach", **variables)
        yield lab
    finally:
        lab.compose("down", "--volumes", "--timeout", "0", **variables)
        for file in files[1:]:
            file.unlink()
