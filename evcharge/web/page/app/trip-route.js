// A trip on the map: from the car by its stops, numbered, to the goal. Straight lines: nobody knows roads.

import { el } from "./dom.js";

const FARTHEST_ZOOM = 4;
const WIDE_PX = 600;
const CAR_PX = 46;
const SIGN_PX = 30;
// Where a sign is put that would lie on another: about its place, nearer ones first.
const TURNS = Array.from({ length: 12 }, (_, at) => (at * Math.PI) / 6);
const AWAY_PX = [0, 40, 56, 76, 100];

const where = ({ latitude, longitude }) => [latitude, longitude];

/** Draws what `show` is given, over the stations; the panel says it in words. */
export class Route {
  #map;
  #L;
  #line;
  #signs;
  #least;
  #shown = null;

  constructor(map, L) {
    this.#map = map;
    this.#L = L;
    for (const name of ["route", "route-signs"]) {
      const pane = map.createPane(name);
      pane.classList.add(`${name}-pane`);
      pane.setAttribute("aria-hidden", "true");
    }
    this.#line = L.layerGroup();
    this.#signs = L.layerGroup();
    this.#least = map.getMinZoom();
    map.on("zoomend resize", () => this.#place());
  }

  /** Draw `{place, stops, goal}`, the goal null where none is chosen, and the stops where there is
   * no plan; or nothing: null. */
  show(course) {
    this.#shown = course;
    this.#line.clearLayers();
    if (course === null) {
      this.#line.remove();
      this.#signs.remove();
      return;
    }
    // Who plans looks farther than the network goes.
    this.#map.setMinZoom(Math.min(FARTHEST_ZOOM, this.#least));
    this.#line.addTo(this.#map);
    this.#signs.addTo(this.#map);
    const { place, stops, goal } = course;
    if (goal !== null) {
      const points = [place, ...stops ?? [], goal].map(where);
      for (const className of ["route-edge", stops === null ? "route is-open" : "route"]) {
        this.#L.polyline(points, { pane: "route", interactive: false, className }).addTo(this.#line);
      }
    }
    this.#place();
  }

  /** Whether the goal is beyond what is seen. */
  get isBeyond() {
    const { goal } = this.#shown;
    return goal !== null && !this.#map.getBounds().contains(where(goal));
  }

  /** See all of it; `km` about the car where there is no goal yet. */
  see(km = 0) {
    const { place, stops, goal } = this.#shown;
    const bounds = this.#L.latLngBounds([where(place)]);
    if (goal === null) bounds.extend(this.#L.latLng(where(place)).toBounds(2000 * km));
    else for (const point of [...stops ?? [], goal]) bounds.extend(where(point));
    // Beside the buttons and the legend, and above the note of the ground.
    const isWide = this.#map.getContainer().clientWidth >= WIDE_PX;
    this.#map.fitBounds(bounds, { paddingTopLeft: [isWide ? 230 : 72, 40], paddingBottomRight: [48, 84],
      maxZoom: 13, animate: false });
  }

  /** Put the signs where none lies on another, each joined with its place. */
  #place() {
    this.#signs.clearLayers();
    if (this.#shown === null) return;
    const { place, stops, goal } = this.#shown;
    const map = this.#map;
    const taken = [{ at: map.latLngToLayerPoint(where(place)), size: CAR_PX }];
    const signs = (stops ?? []).map((stop, index) => ({ place: stop, said: String(index + 1), kind: "stop" }));
    if (goal !== null) signs.unshift({ place: goal, said: "", kind: "goal" });
    for (const { place: its, said, kind } of signs) {
      const point = map.latLngToLayerPoint(where(its));
      const at = this.#free(point, taken);
      taken.push({ at, size: SIGN_PX });
      if (at !== point) {
        this.#L.polyline([where(its), map.layerPointToLatLng(at)],
          { pane: "route", interactive: false, className: "route-joint" }).addTo(this.#signs);
      }
      const made = this.#L.Icon.extend({ createIcon: () => el("div", { class: `route-sign is-${kind}` }, said), createShadow: () => null });
      this.#L.marker(map.layerPointToLatLng(at), { pane: "route-signs", icon: new made(), interactive: false, keyboard: false }).addTo(this.#signs);
    }
  }

  #free(point, taken) {
    for (const away of AWAY_PX) {
      for (const turn of TURNS) {
        const at = away === 0 ? point : this.#L.point(point.x + away * Math.cos(turn), point.y + away * Math.sin(turn));
        if (taken.every(({ at: other, size }) => at.distanceTo(other) >= (size + SIGN_PX) / 2)) return at;
        if (away === 0) break;
      }
    }
    return point;
  }
}
