// What is known of a station: in the map's popup, and under its row of the table.

import { el } from "./dom.js";

/** Details of station `id`: `element`, `update()`, `focus()`, `remove()`, `onResize`. */
export function makeDetails(id, { network }) {
  const element = el("div", { class: "details" }, network.stations.get(id).name_station);
  return { element, update() {}, focus() {}, remove() {}, onResize() {} };
}
