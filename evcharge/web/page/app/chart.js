// A line over the last hour: drawn, said in words, and as a table of numbers.

import { el, mark, say, svg } from "./dom.js";
import { format } from "./format.js";
import { text } from "./texts.js";

const WIDTH = 320;
const HEIGHT = 96;
const TOP = 8;
const HOUR_MS = 3_600_000;
const LEAST_MS = 60_000;
const BREAK_MS = 60_000; // Points farther apart than that are not joined.

/** A round number not below `value`. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((times) => times * power).find((found) => found >= value);
}

/** The last point of each minute. */
function byMinute(points) {
  const found = new Map();
  for (const point of points) found.set(Math.floor(point.at / 60_000), point);
  return [...found.values()].reverse();
}

/**
 * A chart: `element`, and `update(points, top)`, the points being `{at, value}`, the oldest first,
 * and `top` the end of its scale, such as all slots; left out, a round number above the points.
 *
 * @param name is of its texts: "taken" or "load".
 * @param write gives a value as text.
 */
export function makeChart(name, write) {
  const area = svg("path", { class: "area" });
  const line = svg("path", { class: "line" });
  const ceiling = svg("line", { class: "rule", x1: 0, x2: WIDTH, y1: TOP, y2: TOP });
  const floor = svg("line", { class: "rule", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 });
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, hidden: true });
  const drawing = svg("svg", {
    class: "drawing", role: "img", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none",
  }, ceiling, floor, area, line, cursor);
  const dot = el("span", { class: "now", "aria-hidden": "true" });
  const scale = el("span", { class: "scale", "aria-hidden": "true" });
  const hint = el("span", { class: "hint", "aria-hidden": "true", hidden: true });
  const from = el("span");
  const until = el("span");
  const plot = el("div", { class: "plot" }, drawing, dot, scale, hint);
  const caption = el("p", { class: "least-most" });
  const summary = el("summary");
  const body = el("tbody");
  const heads = [el("th", { scope: "col" }), el("th", { scope: "col" })];
  const title = el("caption", { class: "visually-hidden" });
  const numbers = el("details", { class: "numbers" }, summary,
    el("div", { class: "numbers-scroll", tabindex: "0", role: "region" },
      el("table", {}, title, el("thead", {}, el("tr", {}, ...heads)), body)));
  const element = el("div", { class: "chart", "data-chart": name },
    plot, el("p", { class: "axis", "aria-hidden": "true" }, from, until), caption, numbers);
  let points = [];
  // What the drawing's edges stand for.
  let start = 0;
  let end = 1;
  let top = 1;

  const x = (at) => ((at - start) / (end - start)) * WIDTH;
  const y = (value) => HEIGHT - 1 - (value / top) * (HEIGHT - 1 - TOP);

  function draw() {
    let path = "";
    let fill = "";
    let last = null;
    for (const point of points) {
      const at = `${x(point.at).toFixed(1)} ${y(point.value).toFixed(1)}`;
      const isNew = last === null || point.at - last.at > BREAK_MS;
      if (isNew && last !== null) fill += `V${HEIGHT - 1}Z`;
      path += `${isNew ? "M" : "L"}${at}`;
      fill += isNew ? `M${x(point.at).toFixed(1)} ${HEIGHT - 1}L${at}` : `L${at}`;
      last = point;
    }
    mark(line, "d", path);
    mark(area, "d", `${fill}V${HEIGHT - 1}Z`);
    dot.style.left = `${(x(last.at) / WIDTH) * 100}%`;
    dot.style.top = `${(y(last.value) / HEIGHT) * 100}%`;
  }

  function writeNumbers() {
    if (!numbers.open) return;
    const rows = byMinute(points);
    while (body.children.length > rows.length) body.lastChild.remove();
    while (body.children.length < rows.length) body.append(el("tr", {}, el("td"), el("td")));
    rows.forEach((point, index) => {
      const [time, value] = body.children[index].children;
      say(time, format.hour(point.at));
      say(value, write(point.value));
    });
  }
  numbers.addEventListener("toggle", writeNumbers);

  plot.addEventListener("pointermove", (event) => {
    if (!points.length) return;
    const box = plot.getBoundingClientRect();
    const at = start + ((event.clientX - box.left) / box.width) * (end - start);
    const near = points.reduce((best, point) =>
      (Math.abs(point.at - at) < Math.abs(best.at - at) ? point : best));
    mark(cursor, "x1", x(near.at));
    mark(cursor, "x2", x(near.at));
    cursor.removeAttribute("hidden");
    hint.hidden = false;
    say(hint, `${format.hour(near.at)} · ${write(near.value)}`);
    hint.style.left = `${Math.min(Math.max((x(near.at) / WIDTH) * 100, 18), 82)}%`;
  });
  plot.addEventListener("pointerleave", () => {
    cursor.setAttribute("hidden", "");
    hint.hidden = true;
  });

  return {
    element,
    update(all, ceilingAt = null) {
      points = all;
      say(summary, text("network.numbers"));
      say(title, text(`network.numbers.${name}`));
      mark(title.closest("[role=region]"), "aria-label", text(`network.numbers.${name}`));
      say(heads[0], text("network.time"));
      say(heads[1], text(`network.value.${name}`));
      plot.classList.toggle("is-empty", points.length === 0);
      if (points.length === 0) {
        say(caption, text("network.soon"));
        mark(drawing, "aria-label", text("network.soon"));
        writeNumbers();
        return;
      }
      const values = points.map(({ value }) => value);
      const least = Math.min(...values);
      const most = Math.max(...values);
      end = points.at(-1).at;
      // A young server's line fills the chart; later it is the last hour.
      start = Math.min(Math.max(points[0].at, end - HOUR_MS), end - LEAST_MS);
      top = ceilingAt ?? roundUp(most);
      draw();
      say(scale, write(top));
      say(from, format.hour(start));
      say(until, format.hour(end));
      say(caption, text("network.range", { least: write(least), most: write(most) }));
      mark(drawing, "aria-label", text(`network.chart.${name}`,
        { now: write(values.at(-1)), least: write(least), most: write(most) }));
      writeNumbers();
    },
  };
}
