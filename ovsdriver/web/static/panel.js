// One panel for whatever was clicked: what it is, what is in force, what passes, what to do.

import { chart } from "./chart.js";
import { el, keyed, pill, say } from "./dom.js";
import { line } from "./events.js";
import { ask, called, edgesOf, endpoint, endpointsOn, network, nodeOf, now, poolsOf } from "./live.js";
import { amount, bytes, plural, short } from "./words.js";

const aside = document.getElementById("panel");
let about = { write: false, charts: false };
let go = () => {};
let open = null; // id of what is shown
let before = null; // what had the focus
let parts = [];

export function begin(given) {
  ({ about, go } = given);
}

/** Show the thing of an id, or nothing. */
export function show(id) {
  if (id === open) return;
  if (id && !open) before = document.activeElement;
  open = id;
  aside.hidden = !id;
  document.body.classList.toggle("with-panel", Boolean(id));
  parts = [];
  if (!id) return;
  build(id);
  aside.focus({ preventScroll: true });
}

export function close() {
  if (!open) return;
  const url = new URL(location.href);
  url.searchParams.delete("show");
  go(url.pathname + url.search);
  if (before?.isConnected) before.focus();
}

/** Draw what changed; fields that somebody types into stay. */
export function refresh(kind) {
  if (!open) return;
  if (!parts.length) build(open);
  else for (const each of parts) each(kind);
}

function build(id) {
  const found = thing(id);
  const closing = el("button", { type: "button", class: "close", "aria-label": "Close", onclick: close }, "✕");
  if (!found) {
    aside.replaceChildren(closing, el("p", { class: "note" }, now.details ? "It is not there any more." : "Loading…"));
    return;
  }
  const kind = el("span", { class: "kind" }, found.kind);
  const heading = el("h2", {}, found.name);
  const state = el("span");
  const why = el("p", { class: "why" });
  const facts = el("dl");
  const rules = el("div", {});
  const rows = el("div", {});
  const curve = chart(found.edges, about);
  const children = el("ul", { class: "members" });
  const events = el("ol", { class: "events" });
  parts = [(what) => {
    const at = thing(id);
    if (what === "traffic" || what === undefined) curve.draw();
    if (what === "traffic") return;
    lately(found, events);
    say(heading, at ? at.name : found.name);
    state.replaceChildren(pill(at?.condition ?? "waiting", at?.state ?? "gone"));
    say(why, at?.why ?? "");
    facts.replaceChildren(...(at?.facts ?? []).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
    children.replaceChildren(...(at?.members ?? []).map(([name, note, target, condition]) =>
      el("li", {}, el("a", { href: address(target), class: condition }, name), el("span", { class: "note" }, note))));
  }];
  aside.replaceChildren(
    el("div", { class: "head" }, el("div", {}, kind, heading), closing), state, why, facts,
    ...(found.edges.length ? [section("Traffic", curve.made)] : []),
    ...(found.target ? [section("Actions", actions(found))] : []),
    ...(found.members ? [section(found.membersAre, children)] : []),
    rules,
    ...(found.options ? [section("Options in force", rows)] : []),
    ...(found.id ? [section("Last events", events)] : []));
  parts[0]();
  curve.draw();
  if (found.options) options(found.options, rows);
  if (found.network) reach(found, rules);
}

function section(name, ...children) {
  return el("section", {}, el("h3", {}, name), ...children);
}

function address(id) {
  const url = new URL(location.href);
  url.searchParams.set("show", id);
  return url.pathname + url.search;
}

/** Return what is told of a node or an endpoint; null if it is not there. */
function thing(id) {
  if (id.startsWith("network:")) return ofNetwork(id);
  if (id.startsWith("endpoint:")) return ofEndpoint(endpoint(id.slice(9)));
  const node = nodeOf(id);
  if (!node) return null;
  if (node.kind === "container") {
    const ids = now.graph.edges.filter((each) => each.inner === id).map((each) => each.id.slice(9));
    const places = ids.map(endpoint).filter(Boolean);
    if (places.length === 1) return ofEndpoint(places[0]);
    return {
      kind: "container", name: node.name, condition: node.condition, state: node.condition, why: node.why,
      facts: [["Networks", String(places.length)]], edges: edgesOf(id), membersAre: "On networks",
      members: places.map((each) => [each.network_name || short(each.endpoint.network), each.endpoint.addresses.join(", "), `endpoint:${each.endpoint.id}`, conditionOf(each.state)]),
    };
  }
  const hanging = now.graph.edges.filter((each) => each.outer === id).map((each) => nodeOf(each.inner)).filter(Boolean);
  return {
    kind: { world: "beyond this host", nic: "NIC", host: "this host's way out", foreign: "port of others", peer: "other host" }[node.kind] ?? node.kind,
    name: node.name, condition: node.condition, state: node.condition, why: node.why, edges: edgesOf(id),
    facts: node.notes.map((each) => ["", each]),
    membersAre: "Leads to",
    members: hanging.length ? hanging.map((each) => [each.name, each.why || each.notes.join(", "), each.id, each.condition]) : null,
  };
}

function ofNetwork(id) {
  const found = network(id.slice(8));
  if (!found) return null;
  const record = found.network;
  const segment = record.segment;
  return {
    id, kind: "network", name: found.name || short(record.id), state: found.state,
    condition: nodeOf(id)?.condition ?? "unknown", why: nodeOf(id)?.why ?? "",
    target: found.name || record.id, options: `network/${record.id}`, edges: edgesOf(id),
    facts: [
      ["Id", short(record.id)],
      ["Bridge", `${segment.bridge}, ${segment.adopted === true || segment.type ? "adopted" : "made by ovsnet"}`],
      segment.segment ? ["Segment", segment.segment] : ["VLAN", segment.tag ? String(segment.tag) : "none"],
      ["Mode", [...new Set([record.mode, record.mode6 ?? record.mode])].join(" / ")],
      ...record.subnets.map((each) => ["Subnet", `${each.cidr}${each.gateway ? `, gateway ${each.gateway}` : ""}`]),
      ...(found.gateway_link ? [["Gateway port", found.gateway_link]] : []),
      ...(found.uplink ? [["Uplink", `${segment.uplink.nics.join(" + ")}${found.uplink.fault ? `: ${found.uplink.fault}` : ""}`]] : []),
      ...poolsOf(record.id).map((each) => ["Addresses", `${each.usage.held} of ${amount(each.usage.capacity)} held`]),
    ],
    membersAre: "Containers",
    members: endpointsOn(record.id).map((each) => [each.container || short(each.endpoint.id), each.endpoint.addresses.map((one) => one.split("/")[0]).join(", "), `endpoint:${each.endpoint.id}`, conditionOf(each.state)]),
  };
}

function ofEndpoint(found) {
  if (!found) return null;
  const record = found.endpoint;
  const edge = now.graph.edges.find((each) => each.id === `endpoint:${record.id}`);
  const pulled = edge?.condition === "pulled";
  return {
    id: `endpoint:${record.id}`, kind: "container", name: found.container || short(record.id), state: pulled ? "cable pulled" : found.state,
    condition: edge?.condition ?? conditionOf(found.state), why: pulled ? "" : edge?.why || found.fault, target: called(found),
    options: `endpoint/${record.id}`, edges: [`endpoint:${record.id}`], network: record.network,
    facts: [
      ["Network", found.network_name || short(record.network)],
      ...record.addresses.map((each) => ["Address", each]),
      ["MAC", record.mac],
      ["Port", `${found.port_name} on ${found.bridge}${found.ofport ? `, OpenFlow ${found.ofport}` : ""}`],
      ...(found.interface ? [["Interface", found.interface]] : []),
      ...record.published.map((each) => ["Published", `${each.host}:${each.host_port}/${each.protocol} → ${each.port}`]),
      ...(found.unpublished_why ? [["Not published", found.unpublished_why]] : []),
      ...(found.copies ? [["Copies", found.copies]] : []),
    ],
  };
}

function conditionOf(state) {
  return { attached: "up", ready: "up", broken: "broken", unknown: "unknown" }[state] ?? "waiting";
}

async function options(of, rows) {
  try {
    const found = await (await ask(`/api/options/${of}`)).json();
    const said = { container: "container", network: "network", "": "default" };
    rows.replaceChildren(el("table", { class: "options" }, el("tbody", {}, ...found.map((each) =>
      el("tr", { title: each.help, class: each.said ? "said" : "" }, el("th", { scope: "row" }, each.option), el("td", {}, each.value), el("td", { class: "note" }, said[each.said]))))));
  } catch (error) {
    rows.replaceChildren(el("p", { class: "note" }, error.message));
  }
}

/** Show whom a container may reach and be reached by, if rules say so, and what they have met. */
async function reach(found, place) {
  try {
    const rules = await (await ask(`/api/rules/${found.id.slice(9)}`)).json();
    if (!rules.length) return;
    place.replaceChildren(section("Access rules", el("table", { class: "options" }, el("tbody", {}, ...rules.map((each) =>
      el("tr", { title: each.said || "any ovs.allow", class: each.packets ? "said" : "" },
        el("td", {}, each.passes ? "✔ passes" : "✘ is dropped"), el("td", {}, `${each.side} ${each.about}`),
        el("td", { class: "note" }, plural(each.packets, "packet"))))))));
  } catch (error) {
    place.replaceChildren(section("Access rules", el("p", { class: "note" }, error.message)));
  }
}

function actions(found) {
  const made = [capture(found.target)];
  if (found.kind === "container")
    made.push(el("p", {}, el("a", { class: "button", href: `/path?${new URLSearchParams({ from: found.target })}` }, "Trace to …")));
  if (about.write) made.push(impair(found));
  return made;
}

function capture(target) {
  const input = (name, attributes, label) => el("label", {}, label, el("input", { name, ...attributes }));
  const told = el("p", { class: "note", role: "status" });
  const button = el("button", { type: "submit" }, "Capture");
  let ending = null;
  const form = el("form", { class: "small", onsubmit: async (event) => {
    event.preventDefault();
    if (ending) {
      ending.abort();
      return;
    }
    ending = new AbortController();
    say(button, "Stop");
    const fields = Object.fromEntries(new FormData(form));
    const pieces = [];
    let size = 0;
    try {
      say(told, "Listening …");
      const answer = await ask("/api/capture", { of: target, ...fields }, { signal: ending.signal });
      const reader = answer.body.getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        pieces.push(piece.value);
        size += piece.value.length;
        say(told, `${bytes(size)} …`);
      }
    } catch (error) {
      if (error.name !== "AbortError") say(told, error.message);
    }
    ending = null;
    say(button, "Capture");
    if (!pieces.length) return;
    say(told, `${bytes(size)} saved.`);
    const url = URL.createObjectURL(new Blob(pieces, { type: "application/vnd.tcpdump.pcap" }));
    el("a", { href: url, download: `${target.replaceAll(/[^\w.-]/g, "-")}.pcap` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  } },
    input("seconds", { type: "number", min: 1, max: 3600, value: 10, required: true }, "Seconds"),
    input("count", { type: "number", min: 1, placeholder: "any" }, "Packets"),
    input("filter", { placeholder: "port 80", spellcheck: "false", autocomplete: "off" }, "Filter"),
    button);
  return el("div", {}, form, told);
}

function impair(found) {
  const told = el("p", { class: "note", role: "status" });
  async function change(options, spell = null) {
    try {
      const body = JSON.stringify({ target: found.target, options, ...(spell ? { spell } : {}) });
      const changed = await (await ask("/api/set", {}, { method: "POST", body, headers: { "X-Ovsnet-Write": "yes" } })).json();
      const back = spell ? ` For ${spell.for_s} s.` : "";
      say(told, changed.pending.length ? changed.pending.join(" ") : `In force${changed.containers.length ? ` for ${plural(changed.containers.length, "container")}` : ""}.${back}`);
    } catch (error) {
      say(told, error.message);
    }
  }
  const form = el("form", { class: "small line", onsubmit: (event) => {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(form));
    change({ "ovs.delay": fields.delay, "ovs.loss": fields.loss });
  } },
    el("label", {}, "Delay", el("input", { name: "delay", placeholder: "none, or 20ms", autocomplete: "off" })),
    el("label", {}, "Loss", el("input", { name: "loss", placeholder: "none, or 1%", autocomplete: "off" })),
    el("button", { type: "submit" }, "Set"));
  const pull = el("button", { type: "button", onclick: () => change({ "ovs.link": "down" }, { for_s: 30 }) }, "Pull the cable for 30 s");
  return el("div", {}, form, el("p", {}, pull), told);
}

/** Return what happened to it lately, repairs that name its port among it. */
function lately(found, list) {
  if (!now.events || !found.id) return;
  const id = found.id.slice(found.id.indexOf(":") + 1);
  const port = found.facts.find(([name]) => name.endsWith("ort"))?.[1].split(" ")[0];
  const own = now.events.filter((each) => each.endpoint === id || each.network_id === id || (port && Object.values(each.attributes).some((text) => text.includes(port))));
  keyed(list, own.slice(0, 8), (each) => String(each.id), (each) => line(each), () => {});
}
