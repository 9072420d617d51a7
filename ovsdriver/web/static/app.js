// Boots the page: the link's token, the views and their addresses, the keyboard.

import { el, say, set } from "./dom.js";
import { ask, begin, listen, now } from "./live.js";
import * as addresses from "./addresses.js";
import * as events from "./events.js";
import * as map from "./map.js";
import * as networks from "./networks.js";
import * as panel from "./panel.js";
import * as path from "./path.js";
import { plural } from "./words.js";

const VIEWS = { networks, map, path, addresses, events };
const main = document.getElementById("main");
const search = document.getElementById("search");
let shown = null; // name of the view
let redraw = () => {};

/** Go to an address of this page without loading it anew. */
export function go(address, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address);
  route();
}

function route() {
  const url = new URL(location.href);
  const name = url.pathname.slice(1) || "networks";
  const view = VIEWS[name] ?? networks;
  for (const link of document.querySelectorAll("#views a")) set(link, "aria-current", link.dataset.view === name ? "page" : false);
  if (shown !== name) {
    shown = name;
    document.title = `${view.title} · ovsnet`;
    main.replaceChildren();
    main.className = `view-${name}`;
    redraw = view.show(main, { go });
  }
  redraw("route", url.searchParams, search.value.trim().toLowerCase());
  panel.show(url.searchParams.get("show"));
}

function drawn(kind) {
  redraw(kind, new URL(location.href).searchParams, search.value.trim().toLowerCase());
  panel.refresh(kind);
  head();
}

function head() {
  const live = document.getElementById("live");
  const trouble = document.getElementById("trouble");
  const status = now.details?.status;
  const sentence = now.trouble || (now.connected ? "" : "The page's server does not answer. Does `ovsnet web` still run?");
  const waiting = !now.connected && now.graph === null;
  trouble.hidden = !sentence || waiting;
  say(trouble, sentence);
  const broken = (now.graph?.edges ?? []).filter((each) => each.condition === "broken").length;
  let word = waiting ? "connecting" : "live";
  let condition = waiting ? "waiting" : "up";
  if (sentence && !waiting) [word, condition] = ["stale", "broken"];
  else if (status?.degraded) [word, condition] = ["degraded", "broken"];
  else if (status && !status.open_vswitch.connected) [word, condition] = ["Open vSwitch away", "unknown"];
  else if (broken) [word, condition] = [plural(broken, "fault"), "broken"];
  set(live, "class", `live pill ${condition}`);
  say(live, word);
}

function followLinks(event) {
  const link = event.target.closest("a[href^='/']");
  if (!link || link.hasAttribute("download") || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  go(link.getAttribute("href"));
  if (link.dataset.view) main.focus({ preventScroll: true });
}

function keys(event) {
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    if (typing) event.target.blur();
    else panel.close();
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const names = Object.keys(VIEWS);
    if (event.key === "/") {
      event.preventDefault();
      search.focus();
    } else if (names[Number(event.key) - 1]) {
      go(`/${names[Number(event.key) - 1]}`);
    }
  }
}

async function enter() {
  const token = location.hash.slice(1);
  if (token && token !== "main") {
    history.replaceState(null, "", location.pathname + location.search);
    const body = JSON.stringify({ token });
    // Whoever has the cookie already opens the same link again without harm.
    await ask("/session", {}, { method: "POST", body }).catch((error) => {
      enter.refused = error;
    });
  }
  return (await ask("/api/about")).json();
}

function closed(error) {
  document.getElementById("live").hidden = true;
  main.replaceChildren(
    el("section", { class: "empty" },
      el("h1", {}, "This page is closed"),
      el("p", {}, (enter.refused ?? error).message)));
}

async function start() {
  let about;
  try {
    about = await enter();
  } catch (error) {
    closed(error);
    return;
  }
  panel.begin({ go, about });
  document.addEventListener("click", followLinks);
  document.addEventListener("keydown", keys);
  addEventListener("popstate", route);
  search.addEventListener("input", () => drawn("search"));
  listen(drawn);
  route();
  head();
  begin();
}

start();
