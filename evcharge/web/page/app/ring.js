// The ring of a station: as many parts as it has slots, the free ones filled; the number; the queue.

import { el, mark, say, svg } from "./dom.js";
import { format } from "./format.js";
import { isOut } from "./state.js";
import { text, translate } from "./texts.js";

const ROUND = 2 * Math.PI * 14.5;
const GAP = 2.4;
const MOST_PARTS = 12;

/** "free", "full", "queue" or "out": what a station looks like. */
export function look(station) {
  if (isOut(station)) return "out";
  if (station.queue_length > 0) return "queue";
  return station.available_slots > 0 ? "free" : "full";
}

/** A station's price as people say it. */
export function priceText(station) {
  return station.price_known && station.price_kwh !== null ? format.money(station.price_kwh) : null;
}

/** All that a ring says, in words. */
export function label(station) {
  if (isOut(station)) return text("label.out", { name: station.name_station });
  const price = priceText(station);
  return text(price === null ? "label.price" : "label", {
    name: station.name_station,
    n: station.available_slots,
    m: station.max_slots,
    q: station.queue_length,
    kw: format.kw(station.power_kw),
    price: price ?? text("noprice"),
  });
}

// Dashes along the circle: `filled` parts of `all`, each with a gap after it.
function dashes(filled, all) {
  if (filled === 0) return `0 ${ROUND}`;
  const gap = all > 1 ? GAP : 0;
  if (all > MOST_PARTS || all === 1) {
    const length = (ROUND * filled) / all;
    return filled === all ? `${ROUND} 0` : `${length.toFixed(2)} ${ROUND}`;
  }
  const part = ROUND / all - gap;
  const parts = Array.from({ length: filled }, () => `${part.toFixed(2)} ${gap}`);
  parts[filled - 1] = `${part.toFixed(2)} ${ROUND}`;
  return parts.join(" ");
}

/** A ring to be put into an element; `update(station)` touches what has changed. */
export function makeRing() {
  const arc = svg("circle", { class: "arc", cx: 18, cy: 18, r: 14.5, transform: "rotate(-90 18 18)" });
  const track = svg("circle", { class: "track", cx: 18, cy: 18, r: 14.5, transform: "rotate(-90 18 18)" });
  const cross = svg("path", { class: "cross", d: "M13.500 13.500l9 9m0-9l-9 9" });
  const drawn = svg("svg", { viewBox: "0 0 36 36", "aria-hidden": "true", focusable: "false" },
    svg("circle", { class: "disc", cx: 18, cy: 18, r: 17.5 }), track, arc, cross);
  const count = el("span", { class: "count" });
  const badge = el("span", { class: "badge" });
  return {
    parts: [drawn, count, badge],
    update(station) {
      const out = isOut(station);
      const all = station.max_slots;
      mark(track, "stroke-dasharray", out ? "5.500 3.610" : dashes(all, all));
      mark(arc, "stroke-dasharray", dashes(out ? 0 : Math.min(station.available_slots, all), all));
      say(count, out ? "" : String(station.available_slots));
      say(badge, station.queue_length > 0 ? String(station.queue_length) : "");
    },
  };
}

const SIGNS = [
  ["free", { max_slots: 4, available_slots: 3, queue_length: 0, state: "in_service" }],
  ["queue", { max_slots: 4, available_slots: 0, queue_length: 2, state: "in_service" }],
  ["out", { max_slots: 0, available_slots: 0, queue_length: 0, state: "out_of_service" }],
];

/** Fill the list of signs. */
export function fillLegend(root) {
  for (const [name, station] of SIGNS) {
    const ring = makeRing();
    ring.update(station);
    root.append(el("li", {},
      el("span", { class: "station", "data-look": name, "aria-hidden": "true" }, ...ring.parts),
      el("span", { "data-text": `legend.${name}` })));
  }
  root.append(el("li", { class: "small" }, el("span", { class: "dot-sign", "aria-hidden": "true" }),
    el("span", { "data-text": "legend.small" })));
  translate(root);
}
