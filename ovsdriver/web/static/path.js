// A trace, drawn as the boxes that a packet comes by.

import { el, keyed, say } from "./dom.js";
import { ask, called, now } from "./live.js";

export const title = "Path";

const LOOKS = { pass: "up", stop: "broken", unsure: "waiting" };
const MARKS = { pass: ["✔", "passes"], stop: ["✘", "stops"], unsure: ["?", "decided elsewhere"] };

export function show(main, { go }) {
  const places = el("datalist", { id: "places" });
  const field = (name, label, example) =>
    el("label", {}, label, el("input", { name, list: "places", required: true, placeholder: example, autocomplete: "off", spellcheck: "false" }));
  const protocol = el("select", { name: "protocol" }, ...["icmp", "tcp", "udp", "sctp"].map((each) => el("option", { value: each }, each === "icmp" ? "ping" : each)));
  const port = el("input", { name: "port", type: "number", min: 1, max: 65535, placeholder: "443" });
  const portLabel = el("label", { class: "port" }, "Port", port);
  const button = el("button", { type: "submit", class: "first" }, "Trace");
  const form = el("form", { class: "ask" },
    field("from", "From", "lab/web, outside, host"), field("to", "To", "lab/db, outside, host, dns, 192.0.2.1"), el("label", {}, "Protocol", protocol), portLabel, button);
  const verdict = el("p", { class: "verdict", role: "status", hidden: true });
  const boxes = el("ol", { class: "boxes" });
  const empty = el("section", { class: "empty" }, el("h2", {}, "Why does it, or does it not?"),
    el("p", {}, "Choose two ends: a container, an address, outside, this host. Every step of the way is looked at, and nothing is sent."));
  main.append(el("h1", { class: "hidden" }, title), form, verdict, boxes, empty, places);
  const portNeeded = () => {
    portLabel.hidden = protocol.value === "icmp";
    port.required = !portLabel.hidden;
  };
  protocol.addEventListener("change", portNeeded);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const what = protocol.value === "icmp" ? "" : `${protocol.value}/${port.value}`;
    const words = new URLSearchParams({ from: form.elements.from.value, to: form.elements.to.value, ...(what ? { what } : {}) });
    asked = null;
    go(`/path?${words}`);
  });
  let asked = null;

  async function trace(query) {
    const key = query.toString();
    if (asked === key) return;
    asked = key;
    button.disabled = true;
    say(button, "Tracing…");
    empty.hidden = true;
    try {
      const words = { from: query.get("from"), to: query.get("to"), what: query.get("what") };
      const found = await (await ask("/api/trace", words)).json();
      if (asked === key) draw(found);
    } catch (error) {
      if (asked === key) refuse(error);
    } finally {
      button.disabled = false;
      say(button, "Trace");
    }
  }

  function draw(found) {
    const result = found.reaches === null ? "unsure" : found.reaches ? "pass" : "stop";
    verdict.hidden = false;
    verdict.className = `verdict ${LOOKS[result]}`;
    verdict.replaceChildren(mark(result), el("span", {}, found.verdict));
    boxes.replaceChildren(...placed(found.hops).map((each) =>
      el("li", { class: LOOKS[worst(each.hops)] },
        el("h2", {}, el("span", { class: "kind" }, each.kind), each.name),
        el("ul", {}, ...each.hops.map((hop) => el("li", { class: LOOKS[hop.verdict] }, mark(hop.verdict),
          el("span", {}, hop.sentence, hop.by ? el("span", { class: "by" }, hop.by) : null)))))));
  }

  function refuse(error) {
    boxes.replaceChildren();
    verdict.hidden = false;
    verdict.className = "verdict waiting";
    verdict.replaceChildren(el("span", {}, error.message));
  }

  portNeeded();
  return (kind, query) => {
    if (kind === "details" || kind === "route") {
      const names = (now.details?.report.endpoints ?? []).map(called);
      keyed(places, [...new Set([...names, "outside", "host", "dns"])], (each) => each, (each) => el("option", { value: each }), () => {});
    }
    if (kind !== "route") return;
    for (const name of ["from", "to"]) if (query.get(name)) form.elements[name].value = query.get(name);
    const [word, number] = (query.get("what") ?? "").split("/");
    if (number) [protocol.value, port.value] = [word, number];
    portNeeded();
    if (query.get("from") && query.get("to")) trace(new URLSearchParams([...query].filter(([name]) => name !== "show")));
  };
}

function mark(verdict) {
  const [sign, word] = MARKS[verdict];
  return el("span", { class: "mark", role: "img", "aria-label": word }, sign);
}

/** Return hops that follow each other at the same place together. */
function placed(hops) {
  const found = [];
  for (const hop of hops) {
    const last = found.at(-1);
    if (last?.name === hop.name && last.kind === hop.kind) last.hops.push(hop);
    else found.push({ name: hop.name, kind: hop.kind, hops: [hop] });
  }
  return found;
}

function worst(hops) {
  return ["stop", "unsure", "pass"].find((each) => hops.some((hop) => hop.verdict === each));
}
