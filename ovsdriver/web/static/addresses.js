// A pool as a grid: who has which address, which are kept, and which nobody is given.

import { el, keyed, say, set } from "./dom.js";
import { ask, now } from "./live.js";
import { ago, amount, plural } from "./words.js";

export const title = "Addresses";

const USES = { held: "held", gateway: "gateway", auxiliary: "auxiliary", reserved: "reserved", free: "free", excluded: "never chosen", beyond: "outside of the range", unusable: "not usable" };

export function show(main, { go }) {
  const tabs = el("nav", { class: "pools", "aria-label": "Pools" });
  const facts = el("p", { class: "facts" });
  const legend = el("ul", { class: "legend uses", "aria-label": "Legend" });
  const grid = el("div", { class: "grid", role: "group", "aria-label": "Addresses" });
  const told = el("p", { class: "told", role: "status" });
  const empty = el("section", { class: "empty", hidden: true }, el("h2", {}, "No pool yet"), el("p", {}, "A network with --ipam-driver ovsipam has one."));
  main.append(el("h1", { class: "hidden" }, title), tabs, facts, legend, told, grid, empty);
  grid.addEventListener("keydown", arrows);
  const tell = (event) => {
    const cell = event.target.closest("button");
    if (cell) say(told, cell.title.replaceAll("\n", " · "));
  };
  grid.addEventListener("focusin", tell);
  grid.addEventListener("pointerover", tell);
  let drawn = "";

  async function load(wanted) {
    let found;
    try {
      found = await (await ask("/api/grid", { pool: wanted })).json();
    } catch (error) {
      say(facts, error.message);
      grid.replaceChildren();
      return;
    }
    if (wanted !== drawn) return;
    const { pool, usage } = found.pool;
    say(facts, [
      `${pool.subnet} of space ${pool.space}`,
      `${usage.held} of ${amount(usage.capacity)} held`,
      `${amount(usage.free)} free to be given`,
      usage.reserved ? `${usage.reserved} reserved` : "",
      usage.resting ? `${usage.resting} rest for a while` : "",
      found.left_out ? `${plural(found.left_out, "block")} of 256 not shown: nothing is held there, or there are too many` : "",
    ].filter(Boolean).join(" · "));
    const counts = {};
    for (const block of found.blocks) for (const cell of block.cells) counts[cell.use] = (counts[cell.use] ?? 0) + 1;
    keyed(legend, Object.keys(USES).filter((each) => counts[each]), (each) => each,
      (each) => el("li", { class: each }), (made, each) => say(made, `${USES[each]} ${counts[each]}`));
    keyed(grid, found.blocks, (each) => each.first,
      (each) => el("section", {}, el("h2", {}, each.first), el("div", { class: "block" })),
      (made, each) => keyed(made.children[1], each.cells, (cell) => cell.address, (cell) => square(cell, go), dress));
    const first = grid.querySelector("button");
    if (first && !grid.querySelector("button[tabindex='0']")) first.tabIndex = 0;
  }

  return (kind, query) => {
    if (!now.details) return;
    const pools = now.details.pools;
    empty.hidden = Boolean(pools.length);
    const wanted = pools.find((each) => each.pool.id === query.get("pool"))?.pool.id ?? pools[0]?.pool.id ?? "";
    keyed(tabs, pools, (each) => each.pool.id,
      (each) => el("a", { href: `/addresses?pool=${encodeURIComponent(each.pool.id)}` }, el("strong"), el("span"), el("meter", { min: 0, max: 1, low: 0.8, high: 0.9, optimum: 0.1 })),
      (made, each) => {
        set(made, "aria-current", each.pool.id === wanted ? "page" : false);
        say(made.children[0], each.network_name || (each.network ? each.network.slice(0, 12) : "no network"));
        say(made.children[1], each.pool.subnet);
        made.children[2].value = each.usage.held / Math.max(1, each.usage.held + each.usage.free);
        set(made.children[2], "aria-label", "filled");
      });
    if (wanted && (wanted !== drawn || kind === "details")) {
      if (wanted !== drawn) grid.replaceChildren();
      drawn = wanted;
      load(wanted);
    }
  };
}

function square(cell, go) {
  return el("button", { type: "button", tabindex: -1, onclick: (event) => {
    const { endpoint } = event.currentTarget.dataset;
    const { search } = new URL(location.href);
    const query = new URLSearchParams(search);
    if (endpoint) {
      query.set("show", `endpoint:${endpoint}`);
      go(`/addresses?${query}`);
    }
  } });
}

function dress(made, cell) {
  const last = cell.address.includes(":") ? cell.address.split(":").at(-1) : cell.address.split(".").at(-1);
  set(made, "class", cell.use);
  made.title = [cell.address, USES[cell.use], cell.who, cell.since ? `since ${ago(cell.since)}` : ""].filter(Boolean).join("\n");
  set(made, "aria-label", made.title.replaceAll("\n", ", "));
  if (cell.endpoint) made.dataset.endpoint = cell.endpoint;
  else delete made.dataset.endpoint;
  say(made, last);
}

function arrows(event) {
  const all = [...event.currentTarget.querySelectorAll("button")];
  const at = all.indexOf(event.target);
  if (at < 0) return;
  const wide = all.findIndex((each, place) => place && each.offsetTop > all[0].offsetTop);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -wide, ArrowDown: wide }[event.key];
  const next = step && all[at + step];
  if (!next) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}
