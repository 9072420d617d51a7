// The table of networks, and what stands above it: is all well?

import { el, keyed, pill, say, set } from "./dom.js";
import { edgesOf, endpointsOn, nodeOf, now, poolsOf, rates } from "./live.js";
import { amount, plural, rate } from "./words.js";

export const title = "Networks";

export function show(main, { go }) {
  const cards = el("div", { class: "cards" });
  const warnings = el("ul", { class: "warnings" });
  const body = el("tbody");
  const table = el("table", { class: "rows" },
    el("thead", {}, el("tr", {}, ...["Network", "Bridge", "VLAN", "Mode", "Subnets", "Containers", "Addresses", "Rate"].map(
      (each) => el("th", { scope: "col" }, each)))), body);
  const empty = el("section", { class: "empty", hidden: true });
  main.append(el("h1", { class: "hidden" }, title), cards, warnings, el("div", { class: "sheet" }, table), empty);
  return (kind, _query, search) => {
    if (!now.details) return;
    if (kind !== "traffic") {
      card(cards);
      keyed(warnings, now.details.status.warnings, (each) => each, (each) => el("li", {}, each), () => {});
    }
    const found = now.details.report.networks.filter((each) => matches(each, search));
    keyed(body, found, (each) => each.network.id, (each) => row(each, go), update);
    table.hidden = !found.length;
    empty.hidden = Boolean(found.length);
    empty.replaceChildren(...nothing(search));
  };
}

function nothing(search) {
  if (search) return [el("p", {}, `Nothing is called “${search}”.`)];
  return [el("h2", {}, "No network yet"), el("p", {}, "Make the first one:"),
    el("pre", {}, "docker network create --driver ovsnet --ipam-driver ovsipam lab")];
}

function matches(found, search) {
  if (!search) return true;
  const words = [found.name, found.network.id, found.network.segment.bridge, ...found.network.subnets.map((each) => each.cidr)];
  for (const place of endpointsOn(found.network.id))
    words.push(place.container, place.endpoint.mac, ...place.endpoint.addresses);
  return words.some((each) => each.toLowerCase().includes(search));
}

function card(cards) {
  const { status, report, pools } = now.details;
  const broken = report.endpoints.filter((each) => each.state === "broken").length + report.networks.filter((each) => each.state === "broken").length;
  const held = pools.reduce((sum, each) => sum + each.usage.held, 0);
  const lately = status.repairs.lately.length;
  const shown = [
    ["Networks", String(report.networks.length), report.networks.length ? "on " + plural(new Set(report.networks.map((each) => each.network.segment.bridge)).size, "bridge") : "none yet", "up"],
    ["Containers", String(report.endpoints.length), broken ? plural(broken, "fault") : "all as recorded", broken ? "broken" : "up"],
    ["Addresses held", String(held), `of ${plural(pools.length, "pool")}`, "up"],
    ["Open vSwitch", status.open_vswitch.connected ? status.open_vswitch.version : "away", status.open_vswitch.connected ? status.open_vswitch.datapaths.join(", ") || "connected" : "does not answer", status.open_vswitch.connected ? "up" : "broken"],
    ["Docker", status.docker.answered ? status.docker.version : "away", status.docker.answered ? "connected" : "does not answer", status.docker.answered ? "up" : "unknown"],
    ["Repairs lately", String(lately), status.repairs.failed.length ? plural(status.repairs.failed.length, "failure") : "none failed", status.repairs.failed.length ? "broken" : "up"],
  ];
  keyed(cards, shown, (each) => each[0],
    (each) => el("div", { class: "card" }, el("span", { class: "what" }, each[0]), el("strong"), el("span", { class: "note" })),
    (made, each) => {
      set(made, "class", `card ${each[3]}`);
      say(made.children[1], each[1]);
      say(made.children[2], each[2]);
    });
}

function row(found, go) {
  const open = () => go(`/networks?show=network:${found.network.id}`);
  const made = el("tr", { onclick: (event) => event.target.closest("a") || open() });
  for (const label of ["Network", "Bridge", "VLAN", "Mode", "Subnets", "Containers", "Addresses", "Rate"])
    made.append(el(label === "Network" ? "th" : "td", { "data-label": label, scope: label === "Network" ? "row" : false }));
  made.children[0].append(el("a", { href: `/networks?show=network:${found.network.id}` }), el("span"));
  made.children[6].append(el("span", { class: "bar" }, el("meter", { min: 0, max: 1, low: 0.8, high: 0.9, optimum: 0.1 })), el("span", { class: "count" }));
  return made;
}

function update(made, found) {
  const { network } = found;
  const id = `network:${network.id}`;
  const cells = made.children;
  const condition = nodeOf(id)?.condition ?? "unknown";
  say(cells[0].children[0], found.name || network.id.slice(0, 12));
  if (cells[0].children[1].className !== `pill ${condition}`) cells[0].children[1].replaceWith(pill(condition, found.state));
  say(cells[0].children[1], found.state);
  say(cells[1], network.segment.bridge);
  say(cells[2], network.segment.segment ?? (network.segment.tag ? String(network.segment.tag) : "none"));
  say(cells[3], [...new Set([network.mode, network.mode6 ?? network.mode])].join(" / "));
  say(cells[4], network.subnets.map((each) => each.cidr).join("\n") || "–");
  say(cells[5], String(found.endpoints));
  const pools = poolsOf(network.id).filter((each) => each.pool);
  const held = pools.reduce((sum, each) => sum + each.usage.held, 0);
  const fill = Math.max(0, ...pools.map((each) => each.usage.held / Math.max(1, each.usage.held + each.usage.free)));
  const capacity = pools.reduce((sum, each) => sum + each.usage.capacity, 0);
  cells[6].children[0].hidden = !pools.length;
  cells[6].children[0].firstChild.value = fill;
  set(cells[6].children[0].firstChild, "aria-label", `${Math.round(fill * 100)} % held`);
  say(cells[6].children[1], pools.length ? `${held} of ${amount(capacity)}` : "–");
  const [down, up] = rates(edgesOf(id));
  say(cells[7], down === null ? "–" : `↓ ${rate(down)}\n↑ ${rate(up)}`);
}
