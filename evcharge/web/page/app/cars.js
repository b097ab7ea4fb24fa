// Simulated cars, on one canvas over the map: a sign by what a car does, filled as its battery is.

import { eachFrame, el } from "./dom.js";
import { sizeAt } from "./markers.js";

const EDGE_PX = 1.75;
const HALO_PX = 1.5;
const FILLS = 10; // So many fillings are told apart.
const LEAST_MS = 120;
const LONGEST_MS = 1500;
const LATE = 1.2; // The next news may come that much later than the last.
const CALM_MS = 1000;
// Beside a station's ring from the right downwards, as its badge is at the top right.
const FIRST_ANGLE = 0.1;
const ROUND = 2 * Math.PI - 1.3;
const COLOURS = { driving: "--load", waiting: "--full", charging: "--free" };

/** What cars do: "driving", "waiting", "charging". */
export const STATES = Object.keys(COLOURS);

/** A state's sign about 0, 0: a circle, a square on its corner, or a square. */
function outline(state, radius) {
  const path = new Path2D();
  if (state === "driving") path.arc(0, 0, radius, 0, 2 * Math.PI);
  else if (state === "charging") path.roundRect(-radius * 0.9, -radius * 0.9, radius * 1.8, radius * 1.8, 1.5);
  else {
    const far = radius * 1.2;
    path.moveTo(0, -far);
    path.lineTo(far, 0);
    path.lineTo(0, far);
    path.lineTo(-far, 0);
    path.closePath();
  }
  return path;
}

/** Draw a car in the middle of a `context`, filled to `share` of it. */
function drawCar(context, state, share, radius, { colour, surface }) {
  const shape = outline(state, radius);
  context.lineJoin = "round";
  context.strokeStyle = context.fillStyle = surface;
  context.lineWidth = EDGE_PX + 2 * HALO_PX;
  context.stroke(shape);
  context.fill(shape);
  context.save();
  context.clip(shape);
  context.fillStyle = colour;
  const far = radius * (state === "waiting" ? 1.2 : 1);
  context.fillRect(-far, far - 2 * far * share, 2 * far, 2 * far);
  context.restore();
  context.strokeStyle = colour;
  context.lineWidth = EDGE_PX;
  context.stroke(shape);
}

/** How much of its way to where it is now a car has been drawn along. */
const shareOf = (car, now) => (now < car.since + car.takes ? (now - car.since) / car.takes : 1);

/** The cars of a network that are on the map. */
export class Cars {
  #map;
  #L;
  #root;
  #network;
  #canvas = el("canvas", { class: "cars leaflet-zoom-hide", "aria-hidden": "true" });
  #cars = new Map();
  #places = new Map(); // By place, who stands there: an id or null for each stand.
  #signs = new Map();
  #signsOf = "";
  #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #calmCall = 0;
  #draw = eachFrame(() => this.#drawAll());

  constructor(map, L, root, network) {
    this.#map = map;
    this.#L = L;
    this.#root = root;
    this.#network = network;
    map.createPane("cars").classList.add("cars-pane");
    map.getPane("cars").append(this.#canvas);
    map.on("move moveend zoomend resize", this.#draw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", this.#draw);
    new MutationObserver(this.#draw)
      .observe(document.documentElement, { attributeFilter: ["data-stale"] });
    this.#takeOver();
  }

  /** Take over where the cars are now; for who wishes for no movement, each second. */
  update() {
    if (!this.#calm.matches) this.#takeOver();
    else if (!this.#calmCall) {
      this.#calmCall = setTimeout(() => {
        this.#calmCall = 0;
        this.#takeOver();
      }, CALM_MS);
    }
  }

  #takeOver() {
    const now = performance.now();
    for (const id of this.#cars.keys()) if (!this.#network.vehicles.has(id)) this.#remove(id);
    for (const [id, told] of this.#network.vehicles) {
      const car = this.#cars.get(id);
      if (car?.told !== told) this.#move(id, told, car, now);
    }
    this.#draw();
  }

  // From where it is seen to where it is now, for as long as until the next news.
  #move(id, told, before, now) {
    const { latitude, longitude, state } = told;
    const stands = state === "driving" ? 0 : 1;
    const to = { latitude, longitude, stands };
    if (before === undefined) {
      const car = { told, from: to, to, since: now, heardAt: now, takes: 0, place: null, stand: 0 };
      this.#cars.set(id, car);
      if (stands) this.#park(id, car);
      return;
    }
    const from = this.#seen(before, now);
    // Of one that stands, only the battery is news.
    const isStill = Object.keys(to).every((key) => from[key] === to[key]);
    const takes = isStill || this.#calm.matches ? 0
      : Math.min(Math.max((now - before.heardAt) * LATE, LEAST_MS), LONGEST_MS);
    Object.assign(before, { told, from, to, since: now, heardAt: now, takes });
    const place = stands ? `${latitude} ${longitude}` : null;
    if (place !== before.place) {
      this.#leave(id, before);
      if (stands) this.#park(id, before);
    }
  }

  #seen(car, now) {
    const share = shareOf(car, now);
    const { from, to } = car;
    return {
      latitude: from.latitude + (to.latitude - from.latitude) * share,
      longitude: from.longitude + (to.longitude - from.longitude) * share,
      stands: from.stands + (to.stands - from.stands) * share,
    };
  }

  // Who stands somewhere keeps the stand, whoever else comes and goes.
  #park(id, car) {
    car.place = `${car.to.latitude} ${car.to.longitude}`;
    const stands = this.#places.get(car.place) ?? [];
    this.#places.set(car.place, stands);
    const free = stands.indexOf(null);
    car.stand = free < 0 ? stands.length : free;
    stands[car.stand] = id;
  }

  #leave(id, car) {
    if (car.place === null) return;
    const stands = this.#places.get(car.place);
    stands[car.stand] = null;
    if (stands.every((each) => each === null)) this.#places.delete(car.place);
    car.place = null;
  }

  #remove(id) {
    this.#leave(id, this.#cars.get(id));
    this.#cars.delete(id);
  }

  // From the middle of a station's ring to a stand beside it, the inner circle first.
  #offset(stand, radius) {
    const step = 2 * radius + EDGE_PX + 1;
    let away = sizeAt(this.#map.getZoom()) / 2 + radius + 2;
    let left = stand;
    for (;;) {
      const room = Math.max(1, Math.floor((ROUND * away) / step));
      if (left < room) {
        const angle = FIRST_ANGLE + (left * step) / away;
        return [away * Math.cos(angle), away * Math.sin(angle)];
      }
      left -= room;
      away += step;
    }
  }

  #sign(state, battery, radius, scale) {
    const fill = Math.round((Math.min(Math.max(battery, 0), 100) / 100) * FILLS);
    const key = `${state} ${fill}`;
    let sign = this.#signs.get(key);
    if (sign === undefined) {
      const size = Math.ceil(2 * (radius * 1.2 + EDGE_PX + HALO_PX));
      sign = el("canvas", { width: size * scale, height: size * scale });
      const context = sign.getContext("2d");
      context.scale(scale, scale);
      context.translate(size / 2, size / 2);
      const style = getComputedStyle(this.#root);
      drawCar(context, state, fill / FILLS, radius, {
        colour: style.getPropertyValue(COLOURS[state]), surface: style.getPropertyValue("--surface"),
      });
      this.#signs.set(key, sign);
    }
    return sign;
  }

  #drawAll() {
    const canvas = this.#canvas;
    canvas.hidden = this.#cars.size === 0;
    if (canvas.hidden) return;
    const map = this.#map;
    const size = map.getSize();
    const scale = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(size.x * scale), Math.round(size.y * scale)];
    if (canvas.width !== width || canvas.height !== height) {
      Object.assign(canvas, { width, height });
      canvas.style.width = `${size.x}px`;
      canvas.style.height = `${size.y}px`;
    }
    this.#L.DomUtil.setPosition(canvas, map.containerPointToLayerPoint([0, 0]));
    const radius = map.getZoom() < 11.5 ? 3.5 : map.getZoom() < 13 ? 4.5 : 6;
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const signsOf = `${radius} ${scale} ${isDark} ${document.documentElement.hasAttribute("data-stale")}`;
    if (signsOf !== this.#signsOf) this.#signs.clear();
    this.#signsOf = signsOf;
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, width, height);
    const now = performance.now();
    let isMoving = false;
    for (const car of this.#cars.values()) {
      const { latitude, longitude, stands } = this.#seen(car, now);
      isMoving ||= shareOf(car, now) < 1;
      const at = map.latLngToContainerPoint([latitude, longitude]);
      if (at.x < -60 || at.y < -60 || at.x > size.x + 60 || at.y > size.y + 60) continue;
      const [x, y] = stands > 0 ? this.#offset(car.stand, radius) : [0, 0];
      const sign = this.#sign(car.told.state, car.told.battery_percent, radius, scale);
      context.drawImage(sign, Math.round((at.x + x * stands) * scale - sign.width / 2),
        Math.round((at.y + y * stands) * scale - sign.height / 2));
    }
    // The browser gives no frame to who is not seen; then nothing is done here.
    if (isMoving) this.#draw();
  }
}
