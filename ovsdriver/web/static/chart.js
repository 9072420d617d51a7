// A curve of rates, by uPlot where this build has it.

import { now, rates } from "./live.js";
import { el, say } from "./dom.js";
import { rate } from "./words.js";

let library = null;

async function loaded() {
  library ??= import("/static/libraries/uPlot.js").then((found) => {
    document.head.append(el("link", { rel: "stylesheet", href: "/static/libraries/uPlot.css" }));
    return found.default;
  });
  return library;
}

/** Return an element with the curve of some edges together, and how to draw it again. */
export function chart(edges, { charts }) {
  const numbers = el("p", { class: "numbers" });
  const place = el("div", { class: "chart" });
  const made = el("div", {}, numbers, place);
  let plot = null;
  let making = false;

  function series() {
    const times = [...new Set(edges.flatMap((each) => (now.history.get(each) ?? []).map((point) => point[0])))].sort((a, b) => a - b);
    const place_ = new Map(times.map((time, index) => [time, index]));
    const found = [times, times.map(() => 0), times.map(() => 0)];
    for (const each of edges)
      for (const [time, down, up] of now.history.get(each) ?? []) {
        found[1][place_.get(time)] += down * 8;
        found[2][place_.get(time)] += up * 8;
      }
    return found;
  }

  async function draw() {
    const [down, up] = rates(edges);
    say(numbers, down === null ? "No traffic was counted yet." : `↓ ${rate(down)}   ↑ ${rate(up)}`);
    const data = series();
    if (!charts || data[0].length < 2 || making) return;
    if (plot) {
      plot.setData(data);
      return;
    }
    making = true;
    const UPlot = await loaded();
    const style = getComputedStyle(place);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui", size: 34 };
    plot = new UPlot({
      width: place.clientWidth || 340,
      height: 130,
      legend: { show: false },
      cursor: { y: false, points: { show: false } },
      scales: { y: { range: (_, least, most) => [0, Math.max(most, 1000)] } },
      axes: [{ ...axis, size: 22, space: 70, values: (_, ticks) => ticks.map(time) }, { ...axis, size: 62, space: 34, values: (_, ticks) => ticks.map((each) => rate(each / 8)) }],
      series: [{}, { stroke: colour("--accent"), width: 2, fill: colour("--accent-soft"), points: { show: false } }, { stroke: colour("--second"), width: 2, points: { show: false } }],
    }, data, place);
    making = false;
  }

  return { made, draw };
}

function time(epoch) {
  return new Date(epoch * 1000).toLocaleTimeString([], { minute: "2-digit", second: "2-digit" });
}
