"""Called by hatchling when a wheel is built: the page's libraries go into it."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Bundled(BuildHookInterface[Any]):  # type: ignore[misc]  # it is there at a build only
    """Brings the libraries, or says why the wheel is without them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetch them, unless the sources have them already; an installation for work on them too.

        Without a network the wheel is built all the same: the page works without charts.
        """
        del version, build_data
        program = Path(self.root) / "ovsdriver" / "web" / "bundle.py"
        found = runpy.run_path(str(program))
        try:
            found["bundle"]()
        except found["BundleError"] as error:
            self.app.display_warning(f"no charts in this build: {error}")
