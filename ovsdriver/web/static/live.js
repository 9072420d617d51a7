// What the server pushes, and what follows from it: rates, names by id, who hangs on what.

const KEPT = 180;
const listeners = new Set();

export const now = {
  graph: null, // nodes, edges, places
  details: null, // status, report, pools
  events: null, // the newest first
  trouble: "",
  connected: false,
  history: new Map(), // edge id: [[time, received per second, sent per second], …]
};

let source = null;
let passed = null; // the counters before, with their time

/** Call `listener(kind)` for each of graph, traffic, details, events, trouble; returns how to end that. */
export function listen(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Listen to the server while somebody looks: a hidden page costs nothing. */
export function begin() {
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : connect()));
  if (!document.hidden) connect();
}

function pause() {
  if (source) source.close();
  source = null;
  passed = null;
  heard("trouble", () => (now.connected = false));
}

function connect() {
  if (source) return;
  source = new EventSource("/api/live");
  source.onopen = () => heard("trouble", () => (now.connected = true));
  source.onerror = () => heard("trouble", () => (now.connected = false));
  on("graph", (data) => (now.graph = data));
  on("details", (data) => (now.details = data));
  on("events", (data) => (now.events = data));
  on("trouble", (data) => (now.trouble = data));
  on("traffic", count);
}

function on(kind, take) {
  source.addEventListener(kind, (event) => heard(kind, () => take(JSON.parse(event.data))));
}

function heard(kind, take) {
  take();
  for (const each of listeners) each(kind);
}

function count(data) {
  const at = Date.now() / 1000;
  const before = passed;
  passed = { at, data };
  if (!before) return;
  const seconds = Math.max(at - before.at, 0.1);
  for (const [id, traffic] of Object.entries(data)) {
    const earlier = before.data[id];
    if (!earlier) continue;
    // A device that was made anew counts from nothing.
    const down = Math.max(0, traffic.received_bytes - earlier.received_bytes) / seconds;
    const up = Math.max(0, traffic.sent_bytes - earlier.sent_bytes) / seconds;
    if (!now.history.has(id)) now.history.set(id, []);
    const history = now.history.get(id);
    history.push([at, down, up]);
    if (history.length > KEPT) history.shift();
  }
  for (const id of now.history.keys()) if (!(id in data)) now.history.delete(id);
}

/** Return [received, sent] per second of several edges together; nulls where nothing is known. */
export function rates(edges) {
  let found = [null, null];
  for (const edge of edges) {
    const last = now.history.get(edge)?.at(-1);
    if (last) found = [(found[0] ?? 0) + last[1], (found[1] ?? 0) + last[2]];
  }
  return found;
}

/** Return the edges whose traffic is a node's. */
export function edgesOf(node) {
  const all = now.graph?.edges ?? [];
  if (node.startsWith("endpoint:")) return [node];
  if (node.startsWith("network:"))
    return all.filter((each) => each.kind === "endpoint" && each.outer === node).map((each) => each.id);
  if (node.startsWith("bridge:"))
    return all.filter((each) => each.inner === node && each.links.length).map((each) => each.id);
  return all.filter((each) => (each.inner === node || each.outer === node) && each.links.length).map((each) => each.id);
}

export function network(id) {
  return now.details?.report.networks.find((each) => each.network.id === id);
}

export function endpoint(id) {
  return now.details?.report.endpoints.find((each) => each.endpoint.id === id);
}

export function endpointsOn(id) {
  return (now.details?.report.endpoints ?? []).filter((each) => each.endpoint.network === id);
}

export function poolsOf(id) {
  return (now.details?.pools ?? []).filter((each) => each.network === id);
}

export function nodeOf(id) {
  return now.graph?.nodes.find((each) => each.id === id);
}

/** Return what a person may call a container by where only one is meant: NETWORK/CONTAINER. */
export function called(place) {
  const home = place.network_name || place.endpoint.network.slice(0, 12);
  return place.container ? `${home}/${place.container}` : place.endpoint.id.slice(0, 12);
}

/** Ask the server; an Error with its sentence if it refuses. */
export async function ask(path, query = {}, options = {}) {
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null));
  let answer;
  try {
    answer = await fetch(`${path}${words.size ? `?${words}` : ""}`, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The page's server does not answer. Does `ovsnet web` still run?");
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  const refused = new Error(said.error || `The server answered ${answer.status}.`);
  refused.status = answer.status;
  throw refused;
}
