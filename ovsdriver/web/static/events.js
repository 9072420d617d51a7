// What happened, the newest first, and by whom.

import { el, keyed, set } from "./dom.js";
import { now } from "./live.js";
import { clock, short } from "./words.js";

export const title = "Events";

const BAD = new Set(["conflict answered", "repair left", "link down", "uplink down", "switch lost", "docker lost", "process stopping"]);

export function show(main, { go }) {
  const types = el("nav", { class: "types", "aria-label": "Types" });
  const list = el("ol", { class: "events" });
  const empty = el("section", { class: "empty", hidden: true }, el("h2", {}, "Nothing happened"), el("p", {}, "Within a day. Older events are told by “ovsnet events --since 7d”."));
  main.append(el("h1", { class: "hidden" }, title), types, list, empty);
  return (_kind, query, search) => {
    if (!now.events) return;
    const wanted = query.get("type") ?? "";
    const known = ["", ...new Set(now.events.map((each) => each.type))].sort();
    keyed(types, known, (each) => each || "all", (each) => el("a", { href: each ? `/events?type=${each}` : "/events" }, each || "all"),
      (made, each) => set(made, "aria-current", each === wanted ? "true" : false));
    const found = now.events.filter((each) => (!wanted || each.type === wanted) && (!search || JSON.stringify(Object.values(each)).toLowerCase().includes(search)));
    types.hidden = !now.events.length;
    empty.hidden = Boolean(found.length);
    keyed(list, found, (each) => String(each.id), (each) => line(each, go), () => {});
  };
}

/** Return one event as an entry of a list. */
export function line(event, go) {
  const what = `${event.type} ${event.action}`;
  const whose = [event.network, event.container || (event.endpoint ? short(event.endpoint) : "")].filter(Boolean).join("/");
  const target = event.endpoint ? `endpoint:${event.endpoint}` : event.network_id ? `network:${event.network_id}` : "";
  const { by, ...told } = event.attributes;
  const made = el("li", {},
    el("time", { datetime: event.time }, clock(Date.parse(event.time) / 1000)),
    el("span", { class: `pill ${BAD.has(what) ? "broken" : event.type === "repair" ? "waiting" : "foreign"}` }, what),
    target && go ? el("a", { href: `/events?show=${target}` }, whose) : el("span", {}, whose),
    el("span", { class: "said" }, ...Object.entries(told).map(([name, text]) => el("span", {}, el("b", {}, name), ` ${text}`)),
      event.cause ? el("span", { class: "note" }, `by ${by ? `${event.cause} ${by}` : event.cause}`) : null));
  return made;
}
