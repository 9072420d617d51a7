"""Chromium, in the network namespace of a bed, on the page of the bed's own ``ovsnet web``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from tests.e2e.bed import Bed
from tests.e2e.world import Program, until

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = 60_000
"""On a machine that does other work; nothing is asserted about time."""

_PROGRAM = Path(sys.executable).parent / "ovsnet"

_WATCH = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (e) => violations.push(e.violatedDirective));
"""


class Visit:
    """A page that is open, with what it asked for and what went wrong in it."""

    def __init__(self, page: Page, link: str) -> None:
        self.page = page
        self.origin, _, self.token = link.partition("/#")
        self.asked: list[str] = []
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda each: self.asked.append(each.url))
        page.on("pageerror", lambda each: self.faults.append(str(each)))
        page.on("console", lambda each: self._heard(each.type, each.text))
        page.add_init_script(_WATCH)
        page.goto(link)
        page.wait_for_selector("#live.up, #live.broken")

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.faults.append(text)

    def go(self, view: str) -> None:
        """Open a view as a person does."""
        self.page.click(f"#views a[data-view={view}]")

    def see(self, selector: str) -> Any:
        """Wait until something is there."""
        return self.page.wait_for_selector(selector)

    def until(self, expression: str) -> None:
        """Wait until an expression is true; asked again and again, as the page allows no eval."""
        until(lambda: self.page.evaluate(expression), expression)

    def violations(self) -> Any:
        """Return what the content security policy has refused."""
        return self.page.evaluate("violations")


@contextmanager
def visiting(bed: Bed, *flags: str, **looks: Any) -> Iterator[Visit]:
    """Start the page's server and a browser on it; ``looks`` are of the browser's context."""
    server = Program(bed, "web", str(_PROGRAM), "web", *flags)
    server.log.unlink(missing_ok=True)
    server.start()
    wrapper = bed.home / "chromium"
    place = bed.outer_path("/").parent / "ns" / "net"
    wrapper.write_text(
        f'#!/bin/sh\nHOME={bed.home} exec nsenter --net={place} -- {CHROMIUM} "$@"\n'
    )
    wrapper.chmod(0o755)
    try:
        until(lambda: "http://" in server.said() or not server.running, "the page is served")
        link = server.said().split()[-1]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=str(wrapper), args=["--no-sandbox"], timeout=PATIENCE_MS
            )
            visit = Visit(browser.new_context(**looks).new_page(), link)
            yield visit
            browser.close()
    finally:
        assert server.stop() == 0, server.said()
