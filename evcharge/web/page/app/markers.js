// The stations' markers: buttons with a ring; and dots for those that would lie upon one another.

import { eachFrame, el, mark } from "./dom.js";
import { label, look, makeRing } from "./ring.js";

const FEW = 150; // So many have a ring each, however close they are.
const ROOM_PX = 30;
const MARGIN = 0.15;
const DOTS_MS = 500;
const ON_TOP = { queue: 2000, full: 1000, free: 0, out: -500 };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Of size by zoom; never below 24 px, which a finger still hits. */
export const sizeAt = (zoom) => (zoom < 11.5 ? 24 : zoom < 13.5 ? 28 : 34);

export class Markers {
  #map;
  #L;
  #root;
  #network;
  #choose;
  #made = new Map();
  #dots;
  #dotted = [];
  #stop = null; // The one that Tab gets to; arrow keys go on from it.
  #raised = null;

  #onDots;
  #redraw = eachFrame(() => this.#drawDots());
  #redrawCall = 0;

  /**
   * @param choose is called with the id of a station that is clicked.
   * @param onDots is told whether there are dots.
   */
  constructor(map, L, root, network, choose, onDots) {
    this.#onDots = onDots;
    this.#map = map;
    this.#L = L;
    this.#root = root;
    this.#network = network;
    this.#choose = choose;
    map.createPane("dots").classList.add("dots-pane");
    this.#dots = el("canvas", { class: "dots leaflet-zoom-hide", "aria-hidden": "true" });
    map.getPane("dots").append(this.#dots);
    map.on("moveend resize", () => this.#arrange());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.#redraw);
    root.style.setProperty("--ring", `${sizeAt(map.getZoom())}px`);
    map.on("zoomend", () => root.style.setProperty("--ring", `${sizeAt(map.getZoom())}px`));
  }

  /** All of them may be others. */
  reset() {
    for (const [id, made] of this.#made) {
      const station = this.#network.stations.get(id);
      if (station === undefined) this.#remove(id);
      else {
        made.marker.setLatLng([station.latitude, station.longitude]);
        this.#draw(made, station);
      }
    }
    this.#arrange();
  }

  /** Those of `ids` have changed. */
  update(ids) {
    let hasDots = false;
    for (const id of ids) {
      const made = this.#made.get(id);
      const station = this.#network.stations.get(id);
      if (made === undefined || station === undefined) hasDots = true;
      else this.#draw(made, station);
    }
    // A dot's colour is in no hurry, and there are many.
    if (hasDots && this.#dotted.length && !this.#redrawCall) {
      this.#redrawCall = setTimeout(() => {
        this.#redrawCall = 0;
        this.#redraw();
      }, DOTS_MS);
    }
  }

  /** Have a marker for a station, though others have taken its room. */
  show(id) {
    const station = this.#network.stations.get(id);
    if (station !== undefined && !this.#made.has(id)) this.#add(station);
  }

  focus(id) {
    const made = this.#made.get(id);
    if (made === undefined) {
      this.#root.focus({ preventScroll: true });
      return;
    }
    this.#setStop(id);
    made.element.focus({ preventScroll: true });
  }

  highlight(id) {
    if (this.#raised !== null) this.#made.get(this.#raised)?.element.classList.remove("is-raised");
    this.#raised = id;
    if (id === null) return;
    this.show(id);
    this.#made.get(id)?.element.classList.add("is-raised");
    const station = this.#network.stations.get(id);
    if (station !== undefined && this.#made.has(id)) this.#draw(this.#made.get(id), station);
  }

  #draw(made, station) {
    const looks = look(station);
    made.ring.update(station);
    mark(made.element, "data-look", looks);
    mark(made.element, "aria-label", label(station));
    const above = station.id === this.#raised ? 4000 : ON_TOP[looks];
    if (made.above !== above) {
      made.above = above;
      made.marker.setZIndexOffset(above);
    }
  }

  #add(station) {
    const { id } = station;
    const ring = makeRing();
    const element = el("button", {
      type: "button",
      class: id === this.#raised ? "station is-raised" : "station",
      tabindex: "-1",
      "data-id": id,
      onkeydown: (event) => this.#onKey(event, id),
      onfocus: () => this.#setStop(id),
    }, ...ring.parts);
    const Shape = this.#L.Icon.extend({ createIcon: () => element, createShadow: () => null });
    const marker = this.#L.marker([station.latitude, station.longitude], {
      icon: new Shape(), keyboard: false, riseOnHover: true, autoPanOnFocus: false,
    });
    marker.on("click", () => this.#choose(id));
    const made = { element, marker, ring, above: 0 };
    this.#made.set(id, made);
    this.#draw(made, station);
    marker.addTo(this.#map);
    if (this.#stop === null) this.#setStop(id);
  }

  #remove(id) {
    this.#made.get(id).marker.remove();
    this.#made.delete(id);
    if (this.#stop === id) {
      this.#stop = null;
      const next = this.#made.keys().next();
      if (!next.done) this.#setStop(next.value);
    }
  }

  #setStop(id) {
    if (this.#stop === id) return;
    this.#made.get(this.#stop)?.element.setAttribute("tabindex", "-1");
    this.#stop = id;
    this.#made.get(id).element.setAttribute("tabindex", "0");
  }

  /** Which stations have a ring, and which a dot. */
  #arrange() {
    const view = this.#map.getBounds().pad(MARGIN);
    const seen = [...this.#network.stations.values()].filter((station) =>
      station.latitude !== null && view.contains([station.latitude, station.longitude]));
    const shown = new Set(seen.length <= FEW ? seen : this.#withRoom(seen));
    this.#dotted = seen.filter((station) => !shown.has(station));
    for (const [id, { element }] of this.#made) {
      const station = this.#network.stations.get(id);
      const isNeeded = id === this.#raised || element === document.activeElement;
      if (!shown.has(station) && !isNeeded) this.#remove(id);
    }
    for (const station of shown) if (!this.#made.has(station.id)) this.#add(station);
    this.#redraw();
  }

  // Those with a queue first, then the large ones.
  #withRoom(stations) {
    const sorted = stations.map((station) => ({
      station,
      size: station.max_slots + station.out_of_service,
      at: this.#map.project([station.latitude, station.longitude]),
      waits: station.queue_length > 0,
    })).sort((one, other) => other.waits - one.waits || other.size - one.size);
    const taken = new Map();
    const key = (x, y) => x * 100_000 + y;
    return sorted.filter(({ at }) => {
      const x = Math.floor(at.x / ROOM_PX);
      const y = Math.floor(at.y / ROOM_PX);
      for (let dx = -1; dx <= 1; dx += 1) {
        for (let dy = -1; dy <= 1; dy += 1) {
          const other = taken.get(key(x + dx, y + dy));
          if (other !== undefined && other.distanceTo(at) < ROOM_PX) return false;
        }
      }
      taken.set(key(x, y), at);
      return true;
    }).map(({ station }) => station);
  }

  /** The dot at a place of the map, if there is one. */
  hasDotAt(place) {
    return this.#dotted.some((station) =>
      this.#map.latLngToLayerPoint([station.latitude, station.longitude]).distanceTo(place) < 10);
  }

  #drawDots() {
    const canvas = this.#dots;
    canvas.hidden = this.#dotted.length === 0;
    this.#onDots(!canvas.hidden);
    if (canvas.hidden) return;
    const size = this.#map.getSize();
    const edge = size.multiplyBy(MARGIN);
    const corner = this.#map.containerPointToLayerPoint(edge.multiplyBy(-1));
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [size.x + 2 * edge.x, size.y + 2 * edge.y];
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    this.#L.DomUtil.setPosition(canvas, corner);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    // One path a colour: each filling costs more than a hundred dots.
    const paths = {};
    for (const station of this.#dotted) {
      const at = this.#map.latLngToLayerPoint([station.latitude, station.longitude]).subtract(corner);
      const path = (paths[look(station)] ??= new Path2D());
      path.moveTo(at.x + 3.5, at.y);
      path.arc(at.x, at.y, 3.5, 0, 2 * Math.PI);
    }
    const style = getComputedStyle(this.#root);
    for (const [name, path] of Object.entries(paths)) {
      context.fillStyle = style.getPropertyValue(`--look-${name}`);
      context.fill(path);
    }
  }

  #onKey(event, id) {
    const direction = ARROWS[event.key];
    if (direction === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const at = (marker) => this.#map.latLngToContainerPoint(marker.getLatLng());
    const here = at(this.#made.get(id).marker);
    let best = null;
    let least = Infinity;
    for (const [other, { marker }] of this.#made) {
      if (other === id) continue;
      const way = at(marker).subtract(here);
      const along = way.x * direction[0] + way.y * direction[1];
      const aside = Math.abs(way.x * direction[1]) + Math.abs(way.y * direction[0]);
      if (along <= 0 || along + 2 * aside >= least) continue;
      least = along + 2 * aside;
      best = other;
    }
    if (best === null) return;
    const size = this.#map.getSize();
    const there = at(this.#made.get(best).marker);
    if (there.x < 20 || there.y < 20 || there.x > size.x - 20 || there.y > size.y - 20) {
      this.#map.panTo(this.#made.get(best).marker.getLatLng(), { animate: false });
    }
    this.focus(best);
  }
}
