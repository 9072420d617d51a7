"""A machine's name, served over HTTP as the containers of the tests do."""

import shutil
from signal import SIGTERM, Signals

from tests.e2e.traffic import WEB_PORT
from tests.e2e.world import Program, World


class Pages(Program):
    """Serves one page, the name; its folder goes when it is stopped."""

    def __init__(self, world: World, name: str, netns: str | None) -> None:
        self._folder = world.home / f"pages-{name}"
        said = ("busybox", "httpd", "-f", "-p", str(WEB_PORT), "-h", str(self._folder))
        super().__init__(world, name, *said, netns=netns)
        self._text = f"{name}\n"

    def start(self) -> None:
        """Write the page and serve it."""
        self._folder.mkdir()
        (self._folder / "index.html").write_text(self._text)
        super().start()

    def stop(self, number: Signals = SIGTERM, *, timeout_s: float = 30) -> int:
        """End it, and remove the page."""
        code = super().stop(number, timeout_s=timeout_s)
        shutil.rmtree(self._folder, ignore_errors=True)
        return code
