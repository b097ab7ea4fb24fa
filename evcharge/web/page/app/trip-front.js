// The plans of a trip as a curve of time against money: its points are buttons, with a table behind.

import { el, mark, svg } from "./dom.js";

const WIDTH = 260;
const HEIGHT = 96;
const EDGE = 13;
// Points are that far from one another, so that each can be hit.
const APART = 26;

/** Where points are drawn, the fastest first: none on another. */
function spread(points) {
  const placed = points.map((point) => ({ ...point }));
  const isNear = (one, other) => Math.abs(one.y - other.y) < APART && other.x - one.x < APART;
  for (let at = 1; at < placed.length; at += 1) {
    if (isNear(placed[at - 1], placed[at])) placed[at].x = placed[at - 1].x + APART;
  }
  if (placed.at(-1).x > WIDTH - EDGE) placed.at(-1).x = WIDTH - EDGE;
  for (let at = placed.length - 2; at >= 0; at -= 1) {
    if (isNear(placed[at], placed[at + 1])) placed[at].x = placed[at + 1].x - APART;
  }
  return placed;
}

/**
 * The curve of `plans`, the fastest first: `element`, and `update(index)`, of which one is chosen.
 *
 * @param choose is called with the index of another one.
 */
export function makeFront(plans, { text, format }, choose) {
  const minutes = plans.map((plan) => plan.total_minutes);
  const prices = plans.map((plan) => plan.price);
  const between = (value, values, size) => {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    return EDGE + ((value - least) / Math.max(most - least, 1e-9)) * (size - 2 * EDGE);
  };
  const points = plans.map((plan) => ({ x: between(plan.total_minutes, minutes, WIDTH),
    y: HEIGHT - between(plan.price, prices, HEIGHT) }));
  const placed = spread(points);
  const stops = ({ stops: { length } }) => (length === 1 ? text("trip.plan.one_stop") : text("trip.plan.n_stops", { n: length }));
  const named = (plan) => ({ time: format.minutes(plan.total_minutes), price: format.money(plan.price), stops: stops(plan) });
  const buttons = plans.map((plan, index) => {
    const made = el("button", { type: "button", id: `trip-front-${index}`, class: "trip-point",
      "aria-label": text("trip.front.point", named(plan)), title: text("trip.front.point", named(plan)),
      onclick: () => choose(index) });
    made.style.left = `${(placed[index].x / WIDTH) * 100}%`;
    made.style.top = `${(placed[index].y / HEIGHT) * 100}%`;
    return made;
  });
  const rows = plans.map((plan) => el("tr", {}, el("th", { scope: "row" }, format.minutes(plan.total_minutes)),
    el("td", {}, format.money(plan.price)), el("td", {}, String(plan.stops.length)),
    el("td", {}, format.percent(plan.arrival_percent))));
  const column = (key) => el("th", { scope: "col" }, text(key));
  const element = el("div", { class: "trip-front", role: "group", "aria-labelledby": "trip-front-title" },
    el("h4", { id: "trip-front-title" }, text("trip.front.title")),
    el("div", { class: "trip-front-area" },
      el("p", { class: "trip-front-prices", "aria-hidden": "true" },
        el("span", {}, format.money(Math.max(...prices))), el("span", {}, format.money(Math.min(...prices)))),
      el("div", { class: "trip-front-plot" },
        svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
          svg("polyline", { points: placed.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ") })),
        ...buttons),
      el("p", { class: "trip-front-times", "aria-hidden": "true" },
        el("span", {}, format.minutes(Math.min(...minutes))), el("span", {}, format.minutes(Math.max(...minutes))))),
    el("details", { class: "numbers" }, el("summary", {}, text("trip.front.numbers")),
      el("table", {}, el("caption", { class: "visually-hidden" }, text("trip.front.title")),
        el("thead", {}, el("tr", {}, column("trip.plan.total"), column("trip.plan.price"), column("trip.front.stops"),
          column("trip.plan.arrival"))),
        el("tbody", {}, ...rows))));
  return {
    element,
    update(chosen) {
      buttons.forEach((made, index) => mark(made, "aria-pressed", index === chosen));
      rows.forEach((row, index) => mark(row, "aria-current", index === chosen ? "true" : null));
    },
  };
}
