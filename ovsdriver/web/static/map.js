// The map: tiers from outside to containers, placed by the server as `ovsnet graph` places them.

import { el, keyed, say, set, svg } from "./dom.js";
import { now, rates } from "./live.js";
import { brief } from "./words.js";

export const title = "Map";

const WIDTH = 168;
const HEIGHT = 42;
const ROOM = 22;
const CONDITIONS = { up: "as recorded", broken: "broken", waiting: "coming or going", pulled: "cable pulled", unknown: "unknown", foreign: "of others" };

export function show(main, { go }) {
  let zoom = 0; // 0: as wide as there is room, but readable
  const edges = svg("g", { class: "edges" });
  const labels = svg("g", { class: "labels" });
  const nodes = svg("g", { class: "nodes" });
  const tiers = svg("g", { class: "tiers" });
  const picture = svg("svg", { class: "map", role: "group", "aria-label": "Map of networks" }, edges, labels, tiers, nodes);
  const frame = el("div", { class: "frame" }, picture);
  const step = (factor) => () => {
    zoom = Math.min(3, Math.max(0.15, (zoom || fitting()) * factor));
    size();
  };
  const tools = el("div", { class: "tools" },
    el("button", { type: "button", "aria-label": "Zoom out", onclick: step(1 / 1.25) }, "−"),
    el("button", { type: "button", onclick: () => { zoom = fitting(); size(); } }, "Fit"),
    el("button", { type: "button", "aria-label": "Zoom in", onclick: step(1.25) }, "+"),
    el("ul", { class: "legend", "aria-label": "Legend" }, ...Object.entries(CONDITIONS).map(([name, word]) => el("li", { class: name }, word))));
  const empty = el("section", { class: "empty", hidden: true }, el("h2", {}, "Nothing to draw yet"), el("p", {}, "The map shows networks of ovsnet, and what they hang on."));
  main.append(el("h1", { class: "hidden" }, title), tools, frame, empty);
  frame.addEventListener("keydown", (event) => move(event, nodes));
  frame.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    step(event.deltaY < 0 ? 1.1 : 1 / 1.1)();
  }, { passive: false });
  drag(frame);
  new ResizeObserver(size).observe(frame);

  function fitting() {
    return Math.min(1.15, frame.clientWidth / (now.graph?.width || 1));
  }

  function size() {
    if (!now.graph) return;
    const scale = zoom || Math.max(fitting(), 0.6);
    set(picture, "width", Math.round(now.graph.width * scale));
    set(picture, "height", Math.round(now.graph.height * scale));
  }

  return (kind, _query, search) => {
    const graph = now.graph;
    if (!graph) return;
    frame.hidden = tools.hidden = !graph.nodes.length;
    empty.hidden = Boolean(graph.nodes.length);
    if (kind !== "traffic") {
      set(picture, "viewBox", `0 0 ${graph.width} ${graph.height}`);
      size();
      keyed(tiers, Object.entries(graph.columns), (each) => each[0],
        ([name]) => svg("text", { class: "tier", "text-anchor": "middle", y: 24 }, name.toUpperCase()),
        (made, [, x]) => set(made, "x", x));
      const found = chosen(graph, search);
      keyed(edges, graph.edges, (each) => each.id, () => svg("path"), (made, each) => edge(made, each, graph, found));
      keyed(nodes, graph.nodes, (each) => each.id, (each) => node(each, go), (made, each) => redraw(made, each, graph, found));
    }
    keyed(labels, graph.edges, (each) => each.id, () => svg("text", {}, svg("tspan"), svg("tspan", { class: "busy" })), (made, each) => label(made, each, graph));
  };
}

/** Return the nodes that a search means, with all that they hang on; null: all. */
function chosen(graph, search) {
  if (!search) return null;
  const found = new Set(graph.nodes.filter((each) => [each.name, ...each.notes].some((word) => word.toLowerCase().includes(search))).map((each) => each.id));
  for (const [from, to] of [["inner", "outer"], ["outer", "inner"]]) {
    const queue = [...found];
    const direct = new Set(found);
    while (queue.length) {
      const at = queue.pop();
      for (const each of graph.edges)
        if (each[from] === at && !direct.has(each[to])) {
          direct.add(each[to]);
          queue.push(each[to]);
        }
    }
    if (from === "inner") for (const each of direct) found.add(each);
  }
  return found;
}

function edge(made, each, graph, found) {
  const [x1, y1] = graph.places[graph.behind[each.id] ?? each.outer];
  const [x2, y2] = graph.places[each.inner];
  const column = x1 === x2; // one above the other
  const [a, b] = [column ? x1 - WIDTH / 2 : x1 + WIDTH / 2, x2 - WIDTH / 2];
  const middle = column ? a - bow(y1, y2) : (a + b) / 2;
  set(made, "d", `M${a},${y1} C${middle},${y1} ${middle},${y2} ${b},${y2}`);
  set(made, "class", `edge ${each.condition}${faded(found, each.inner, each.outer)}`);
  set(made, "data-edge", each.id);
}

/** Return how far an edge between two nodes of one column goes aside. */
function bow(y1, y2) {
  return Math.min(30 + Math.abs(y1 - y2) / 4, 90);
}

function label(made, each, graph) {
  const [received, sent] = rates([each.id]);
  const busy = (received ?? 0) + (sent ?? 0) > 12; // bytes a second: less is a stray packet
  const outside = graph.outside.includes(each.id);
  const [other, inner] = [graph.places[each.outer], graph.places[each.inner]];
  const column = other[0] === inner[0];
  const [x, y] = column ? [inner[0], (other[1] + inner[1]) / 2] : outside ? other : inner;
  const at = column ? x - WIDTH / 2 - bow(other[1], inner[1]) * 0.75 : outside ? x + WIDTH / 2 + 8 : x - WIDTH / 2 - 8;
  const [name, passing] = made.children;
  set(made, "class", graph.behind[each.id] ? "hidden-label" : "label");
  set(made, "text-anchor", outside ? "start" : "end");
  set(name, "x", at);
  set(name, "y", y - 5);
  say(name, each.label);
  set(passing, "x", at);
  set(passing, "y", each.label ? y + 14 : y - 5);
  say(passing, busy ? `↓${brief(received)} ↑${brief(sent)}` : "");
}

function node(each, go) {
  const open = () => go(`/map?show=${encodeURIComponent(each.id)}`);
  return svg("g", { tabindex: 0, role: "button", "data-node": each.id, onclick: open, onkeydown: (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open();
    }
  } },
    svg("title"),
    svg("rect", { width: WIDTH, height: HEIGHT, rx: 8 }),
    svg("circle", { r: 4, cx: 14 }),
    svg("text", { class: "name", x: 25 }),
    svg("text", { class: "note", x: 25, y: 33 }));
}

function redraw(made, each, graph, found) {
  const [x, y] = graph.places[each.id];
  const note = each.why || each.notes.join(", ");
  const [hover, , dot, name, small] = made.children;
  set(made, "class", `node ${each.condition} ${each.kind}${faded(found, each.id)}`);
  set(made, "transform", `translate(${x - WIDTH / 2},${y - HEIGHT / 2})`);
  set(made, "aria-label", [each.kind, each.name, CONDITIONS[each.condition], note].filter(Boolean).join(", "));
  set(dot, "cy", note ? 14 : 21);
  set(name, "y", note ? 18 : 25.5);
  say(hover, [each.name, ...each.notes, each.why].filter(Boolean).join("\n"));
  say(name, cut(each.name, ROOM - 3));
  say(small, cut(note, ROOM));
}

function faded(found, ...ids) {
  return found && !ids.every((each) => found.has(each)) ? " faded" : "";
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

/** Go from node to node by arrows: to the nearest in that direction. */
function move(event, nodes) {
  const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const way = ways[event.key];
  const at = event.target.closest?.("[data-node]")?.dataset.node;
  if (!way || !at) return;
  event.preventDefault();
  const [x, y] = now.graph.places[at];
  let best = null;
  let least = Infinity;
  for (const [id, [nx, ny]] of Object.entries(now.graph.places)) {
    const along = (nx - x) * way[0] + (ny - y) * way[1];
    const aside = Math.abs((nx - x) * way[1]) + Math.abs((ny - y) * way[0]);
    const far = along + aside * (way[0] ? 0.6 : 3);
    if (along > 1 && far < least) [best, least] = [id, far];
  }
  if (best) [...nodes.children].find((each) => each.dataset.node === best)?.focus();
}

function drag(frame) {
  let from = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && !event.target.closest("[data-node]")) {
      from = [event.clientX + frame.scrollLeft, event.clientY + frame.scrollTop];
      frame.setPointerCapture(event.pointerId);
    }
  });
  frame.addEventListener("pointermove", (event) => {
    if (from) frame.scrollTo(from[0] - event.clientX, from[1] - event.clientY);
  });
  for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => (from = null));
}
