// What the stations stand on: a grid of kilometres, the operator's own lines, or tiles.

import { el, say } from "./dom.js";
import { format } from "./format.js";
import { onLanguage, text } from "./texts.js";

const KM_PER_DEGREE = 111.195;
const STEPS_KM = [1, 2, 10, 50, 200];
const LEAST_PX = 32;

/** Pixels of a kilometre in the middle of the map. */
function pixelsPerKm(map) {
  const { lat, lng } = map.getCenter();
  const here = map.project([lat, lng]);
  return here.distanceTo(map.project([lat + 1 / KM_PER_DEGREE, lng]));
}

/** Draw the grid anew, where another part of the world is seen; gives its step, km. */
function drawGrid(map, origin, fine, coarse) {
  const scale = pixelsPerKm(map);
  const step = STEPS_KM.find((km) => km * scale >= LEAST_PX) ?? STEPS_KM.at(-1);
  const view = map.getBounds().pad(0.6);
  const across = Math.cos((origin.lat * Math.PI) / 180) * KM_PER_DEGREE;
  const lines = [[], []];
  const add = (from, to, degrees, line) => {
    for (let at = Math.floor(from); at <= to; at += 1) {
      lines[at % 5 === 0 ? 1 : 0].push(line(degrees * at));
    }
  };
  const dy = step / KM_PER_DEGREE;
  const dx = step / across;
  add((view.getSouth() - origin.lat) / dy, (view.getNorth() - origin.lat) / dy, dy,
    (at) => [[origin.lat + at, view.getWest()], [origin.lat + at, view.getEast()]]);
  add((view.getWest() - origin.lng) / dx, (view.getEast() - origin.lng) / dx, dx,
    (at) => [[view.getSouth(), origin.lng + at], [view.getNorth(), origin.lng + at]]);
  fine.setLatLngs(lines[0]);
  coarse.setLatLngs(lines[1]);
  return step;
}

function addGrid(map, L) {
  map.createPane("grid").classList.add("grid-pane");
  // What is drawn is kept a good way beyond what is seen, so that dragging shows no end of it.
  const renderer = L.svg({ pane: "grid", padding: 0.6 });
  const options = { pane: "grid", renderer, interactive: false, noClip: true, smoothFactor: 0 };
  const fine = L.polyline([], { ...options, className: "grid-line" }).addTo(map);
  const coarse = L.polyline([], { ...options, className: "grid-line is-fifth" }).addTo(map);
  let origin = null;
  return () => {
    const centre = map.getCenter();
    // Of another part of the world, kilometres are other degrees.
    if (origin === null || Math.abs(centre.lat - origin.lat) > 1) origin = centre;
    return drawGrid(map, origin, fine, coarse);
  };
}

async function addLines(map, L, address) {
  const reply = await fetch(address).catch(() => null);
  if (reply === null || !reply.ok) return;
  map.createPane("lines").classList.add("lines-pane");
  L.geoJSON(await reply.json(), {
    pane: "lines",
    interactive: false,
    style: ({ geometry }) => ({
      className: geometry?.type.endsWith("Polygon") ? "own-line is-area" : "own-line",
    }),
    pointToLayer: (_, place) =>
      L.circleMarker(place, { pane: "lines", radius: 2, className: "own-line is-area" }),
  }).addTo(map);
}

/**
 * Put the ground under a map, and the note of what it is into `note`.
 *
 * Where there are no tiles there is the grid; the operator's lines are drawn over either.
 */
export function addGround(map, L, settings, note) {
  let step = null;
  const said = el("span");
  note.append(said);
  const write = () => {
    if (settings.tiles) say(said, settings.attribution ?? "");
    else {
      const grid = step === null ? "" : ` · ${text("map.grid", { km: format.number(step) })}`;
      say(said, (settings.geojson ? "" : text("nomap") + grid) || grid.slice(3));
    }
  };
  if (settings.tiles) {
    map.getContainer().classList.add("has-tiles");
    L.tileLayer(settings.tiles, { maxZoom: 18 }).addTo(map);
  } else {
    const draw = addGrid(map, L);
    const redraw = () => {
      step = draw();
      write();
    };
    map.on("moveend", redraw);
    map.whenReady(redraw);
  }
  if (settings.geojson) addLines(map, L, settings.geojson);
  onLanguage(write);
  write();
  return {
    /** Say too that not all stations are shown. */
    isPart() {
      const more = el("span", { class: "part" });
      const tell = () => say(more, text("map.part"));
      note.prepend(more);
      map.getContainer().classList.add("is-part");
      onLanguage(tell);
      tell();
    },
  };
}
