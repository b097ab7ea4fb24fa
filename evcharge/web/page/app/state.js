// The network as the page knows it: whole at any moment, and what has changed since the last frame.

import { eachFrame } from "./dom.js";

const MOST_POINTS = 240; // An hour of them.

/**
 * `stations` has each by its id, with START's fields and `id`; `figures` the points of the last
 * hour, the oldest first; `vehicles` the simulated cars by their id, and `simulation` how time goes
 * for them, or null where nothing is simulated; `at` is when something was heard last, or null.
 */
export class Network {
  stations = new Map();
  figures = [];
  vehicles = new Map();
  simulation = null;
  at = null;
  isPart = false; // Whether there are more stations than these.
  #listeners = new Set();
  #ids = new Set();
  #whole = false;
  #figures = false;
  #simulation = false;
  #frame = eachFrame(() => this.#tell());

  /** `listener({ids, whole, figures, simulation})`, at most once a frame: which stations, whether
   * any came or went or was described anew, and whether there are other figures, or cars or a clock
   * of the simulation's. */
  onChange(listener) {
    this.#listeners.add(listener);
  }

  #tell() {
    const change = {
      ids: this.#ids, whole: this.#whole, figures: this.#figures, simulation: this.#simulation,
    };
    this.#ids = new Set();
    this.#whole = this.#figures = this.#simulation = false;
    for (const listener of this.#listeners) listener(change);
  }

  /** Take what the server has said; gives whether all of it has to be asked for anew. */
  take(data, isSnapshot) {
    this.at = Date.now();
    if (isSnapshot) {
      this.#takeWhole(data);
      return false;
    }
    let isUnclear = false;
    for (const [id, live] of Object.entries(data.stations ?? {})) {
      const station = this.stations.get(id);
      // One without a slot in or out of service may have left the network.
      if (station === undefined || live.max_slots + live.out_of_service === 0) isUnclear = true;
      if (station === undefined) continue;
      Object.assign(station, live);
      this.#ids.add(id);
    }
    if (data.figures) {
      this.figures.push(data.figures);
      if (this.figures.length > MOST_POINTS) this.figures.shift();
      this.#figures = true;
    }
    this.#takeSimulation(data);
    if (this.#ids.size || this.#figures || this.#simulation) this.#frame();
    return isUnclear;
  }

  // Where a simulation has ended, it is null; where there is none, it is not there.
  #takeSimulation({ vehicles = {}, vehicles_gone: gone = [], simulation }) {
    for (const [id, vehicle] of Object.entries(vehicles)) this.vehicles.set(id, vehicle);
    for (const id of gone) this.vehicles.delete(id);
    if (simulation !== undefined) {
      this.simulation = simulation && { ...simulation, heardAt: performance.now() };
    }
    this.#simulation ||= simulation !== undefined || gone.length > 0 || Object.keys(vehicles).length > 0;
  }

  #takeWhole(snapshot) {
    const { stations, figures } = snapshot;
    const found = new Map();
    for (const [id, station] of Object.entries(stations ?? {})) found.set(id, { id, ...station });
    for (const id of [...this.stations.keys(), ...found.keys()]) this.#ids.add(id);
    this.stations = found;
    this.figures = figures ?? [];
    this.vehicles = new Map();
    this.simulation = null;
    this.#takeSimulation(snapshot);
    this.#whole = this.#figures = this.#simulation = true;
    this.#frame();
  }
}

/** Whether nobody can charge at a station, however long one waits. */
export const isOut = (station) => station.state === "out_of_service";

/** Where all stations are: `{south, west, north, east}`, or null where there are none. */
export function bounds(stations) {
  let found = null;
  for (const { latitude, longitude } of stations) {
    if (latitude === null || longitude === null) continue;
    found ??= { south: latitude, north: latitude, west: longitude, east: longitude };
    found.south = Math.min(found.south, latitude);
    found.north = Math.max(found.north, latitude);
    found.west = Math.min(found.west, longitude);
    found.east = Math.max(found.east, longitude);
  }
  return found;
}
