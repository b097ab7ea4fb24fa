// What the signs of the map mean.

import { el } from "./dom.js";
import { makeRing } from "./ring.js";
import { translate } from "./texts.js";

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
  translate(root);
}
