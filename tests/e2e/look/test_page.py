"""The page in a real browser, beside real containers."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.bed import Bed
from tests.e2e.browser import Visit, visiting
from tests.e2e.stage import Stage
from tests.e2e.world import until

pytestmark = [pytest.mark.docker, pytest.mark.long]

MARKUP = "<b>x<i>"

_NOTED = """
(id) => {
  window.seen = [];
  const edge = document.querySelector(`[data-edge="${id}"]`);
  const note = () => seen.push(edge.getAttribute("class"));
  new MutationObserver(note).observe(edge, { attributes: true, attributeFilter: ["class"] });
  note();
}
"""


def shown(bed: Bed, *command: str) -> Any:
    return json.loads(bed.ovsnet(*command, "--json"))


def drawn(visit: Visit, kind: str) -> set[str]:
    """Return the ids of what the map has of a kind."""
    found = visit.page.query_selector_all(f".node.{kind}")
    return {(each.get_attribute("data-node") or "").partition(":")[2] for each in found}


def of_the_page_alone(visit: Visit) -> None:
    """Assert that nothing was asked of anybody else, refused by the policy, or went wrong."""
    assert visit.asked
    assert [each for each in visit.asked if not each.startswith(f"{visit.origin}/")] == []
    assert visit.violations() == []
    assert visit.faults == []


def test_the_views_show_what_the_commands_say(bed: Bed, stage: Stage, tmp_path: Path) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    shop = stage.network("shop", "--internal", subnet="10.77.2.0/24")
    web = stage.container("web", lab)
    stage.container("db", shop)
    bed.docker("network", "connect", "shop", "web")
    with visiting(bed) as visit:
        visit.see(".rows tbody tr >> nth=1")
        names = visit.page.locator(".rows tbody th a").all_inner_texts()
        assert sorted(names) == sorted(each["name"] for each in shown(bed, "network", "ls"))
        visit.go("map")
        visit.see(".node.container")
        assert drawn(visit, "network") == {lab.id, shop.id}
        endpoints = {each["endpoint"]["id"] for each in shown(bed, "endpoint", "ls")}
        edges = visit.page.query_selector_all('[data-edge^="endpoint:"]')
        assert {(each.get_attribute("data-edge") or "")[9:] for each in edges} == endpoints
        assert visit.page.locator(".node.container").count() == 2  # one of them on both networks
        visit.go("addresses")
        cell = visit.see(f"button[aria-label^='{web.address(lab)}, held, web']")
        assert cell is not None
        visit.go("path")
        visit.page.fill("input[name=from]", "lab/web")
        visit.page.fill("input[name=to]", "outside")
        visit.page.click("form.ask button")
        verdict = visit.see(".verdict:not([hidden])").inner_text()
        said = json.loads(bed.try_ovsnet("trace", "lab/web", "outside", "--json").out)
        assert said["verdict"] in verdict
        assert visit.page.locator(".boxes > li").count() > 1
        of_the_page_alone(visit)


def test_the_panel_of_a_container_tells_what_its_rules_have_met(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", "-o", "ovs.allow=10.9.9.9 tcp/443", subnet="10.77.1.0/24")
    plain = stage.network("plain", subnet="10.77.2.0/24")
    web = stage.container("web", lab)
    stage.container("db", plain)
    assert not web.pings("10.9.9.8")
    ids = {each["container"]: each["endpoint"]["id"] for each in shown(bed, "endpoint", "ls")}
    with visiting(bed) as visit:
        visit.page.goto(f"{visit.origin}/networks?show=endpoint:{ids['web']}")
        rows = visit.see("#panel section:has(h3:text('Access rules'))").inner_text()
        assert "to 10.9.9.9 tcp/443" in rows
        assert "to everything else" in rows
        assert "1 packet" in rows
        visit.page.goto(f"{visit.origin}/networks?show=endpoint:{ids['db']}")
        visit.see("#panel section:has(h3:text('Options in force')) tr")
        assert visit.page.locator("#panel h3:text('Access rules')").count() == 0
        of_the_page_alone(visit)


def test_a_lost_port_turns_red_and_green_again_without_a_reload(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    stage.container("web", lab)
    (web,) = shown(bed, "endpoint", "ls")
    edge = f"endpoint:{web['endpoint']['id']}"
    with visiting(bed) as visit:
        visit.go("map")
        visit.page.wait_for_selector(f'[data-edge="{edge}"].up', state="attached")
        visit.page.evaluate(_NOTED, edge)
        bed.ovs_vsctl("del-port", "br-ovsnet", web["port_name"])
        visit.until("seen.some((each) => each.includes('broken'))")
        visit.until("seen.at(-1).includes('edge up')")
        until(lambda: web["port_name"] in bed.ovs_vsctl("list-ports", "br-ovsnet"), "it is mended")
        visit.go("events")
        assert web["port_name"] in visit.see(".events li").inner_text()
        of_the_page_alone(visit)


def test_a_captured_file_is_read_by_tcpdump(bed: Bed, stage: Stage, tmp_path: Path) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    web, db = stage.container("web", lab), stage.container("db", lab)
    with visiting(bed) as visit:
        (found,) = [each for each in shown(bed, "endpoint", "ls") if each["container"] == "web"]
        visit.page.goto(f"{visit.origin}/networks?show=endpoint:{found['endpoint']['id']}")
        visit.see("#panel input[name=seconds]")
        visit.page.fill("#panel input[name=seconds]", "60")
        visit.page.fill("#panel input[name=count]", "4")
        visit.page.fill("#panel input[name=filter]", "icmp")
        with visit.page.expect_download() as coming:
            visit.page.click("#panel form button[type=submit]")
            until(
                lambda: (
                    web.pings(db.address(lab), count=2)
                    and "saved" in visit.page.text_content("#panel .small + .note")
                ),
                "four packets are there",
            )
        file = tmp_path / coming.value.suggested_filename
        coming.value.save_as(file)
        assert file.name == "lab-web.pcap"
        of_the_page_alone(visit)
    said = subprocess.run(
        ("tcpdump", "-nr", str(file)), capture_output=True, text=True, check=True, timeout=60
    )
    lines = said.stdout.splitlines()
    assert len(lines) == 4
    assert all("ICMP echo" in each for each in lines), lines


def test_what_is_refused_is_said_in_the_panel(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    with visiting(bed) as visit:
        visit.page.goto(f"{visit.origin}/networks?show=network:{lab.id}")
        visit.see("#panel input[name=filter]")
        visit.page.fill("#panel input[name=filter]", "prot 80")
        visit.page.click("#panel form button[type=submit]")
        visit.until(
            "document.querySelector('#panel .small + .note').innerText.includes('not understood')"
        )


def test_the_page_that_may_write_changes_a_line(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    web = stage.container("web", lab)
    with visiting(bed, "--write") as visit:
        visit.page.goto(f"{visit.origin}/networks?show=network:{lab.id}")
        visit.see("#panel input[name=loss]")
        visit.page.fill("#panel input[name=loss]", "all of it")
        visit.page.click("#panel form:has(input[name=loss]) button")
        visit.until("document.body.innerText.includes('all of it')")
        visit.page.fill("#panel input[name=loss]", "")
        visit.page.click("#panel form:has(input[name=loss]) button")
        visit.until("document.body.innerText.includes('In force.')")
        visit.page.click("#panel button:has-text('Pull the cable')")
        until(lambda: "NO-CARRIER" in web.link("eth0")["flags"], "the container sees it")
        bed.ovsnet("set", "lab", "ovs.link=")
        until(lambda: "NO-CARRIER" not in web.link("eth0")["flags"], "it is plugged in again")


def test_names_with_markup_are_shown_as_text(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    stage.container("web", lab)
    bed.ovs_vsctl("--no-wait", "add-port", "br-ovsnet", MARKUP)
    bed.ovsnet("ipam", "reserve", "10.77.1.9", "--network", "lab", "--note", f"<img src=x>{MARKUP}")
    try:
        with visiting(bed) as visit:
            visit.go("map")
            visit.see(".node.foreign")
            assert visit.page.locator(".node.foreign .name").inner_html() == "&lt;b&gt;x&lt;i&gt;"
            visit.page.locator(".node.foreign").focus()
            visit.page.keyboard.press("Enter")
            assert visit.see("#panel h2").inner_text() == MARKUP
            visit.go("addresses")
            visit.see(f"button[title*='<img src=x>{MARKUP}']").hover()
            visit.until("document.querySelector('.told').innerText.includes('<b>')")
            assert visit.page.locator("main img, main b, #panel b").count() == 0
            of_the_page_alone(visit)
    finally:
        bed.ovs_vsctl("del-port", "br-ovsnet", MARKUP)
        bed.ovsnet("ipam", "reserve", "--remove", "10.77.1.9")


def test_all_of_it_is_reached_by_keys(bed: Bed, stage: Stage) -> None:
    lab = stage.network("lab", subnet="10.77.1.0/24")
    stage.container("web", lab)
    with visiting(bed, viewport={"width": 390, "height": 800}, color_scheme="dark") as visit:
        keys = visit.page.keyboard
        for number, view in enumerate(("networks", "map", "path", "addresses", "events"), 1):
            keys.press(str(number))
            visit.page.wait_for_url(f"**/{view}")
        keys.press("2")
        visit.see(".node.container")
        visit.page.locator(".node.network").focus()
        keys.press("ArrowRight")
        keys.press("Enter")
        assert visit.see("#panel h2").inner_text() == "web"
        assert visit.page.evaluate("document.activeElement.id") == "panel"
        keys.press("Escape")
        visit.page.wait_for_selector("#panel", state="hidden")
        focused = visit.page.evaluate("document.activeElement.getAttribute('data-node')")
        assert focused.startswith("container:")
        keys.press("/")
        assert visit.page.evaluate("document.activeElement.id") == "search"
        keys.type("nothing of that name")
        visit.see(".node.container.faded")
        wide = "document.documentElement.scrollWidth <= innerWidth"
        for number in "12345":
            keys.press("Escape")
            keys.press(number)
            assert visit.page.evaluate(wide), f"view {number} is wider than a phone"
        of_the_page_alone(visit)


def test_the_page_says_that_ovsnet_is_away_and_goes_on_when_it_is_back(bed: Bed) -> None:
    with visiting(bed) as visit:
        bed.plugin.stop()
        visit.until("document.getElementById('trouble').innerText.includes('not running')")
        bed.revive()
        visit.page.wait_for_selector("#trouble", state="hidden")
