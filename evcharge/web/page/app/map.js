// The map: the stations on it, where the car is, and how far it gets.

import { el, mark, svg } from "./dom.js";
import { addGround } from "./ground.js";
import { Markers } from "./markers.js";
import { fillLegend } from "./ring.js";
import { bounds } from "./state.js";
import { makeDetails } from "./station.js";
import { onLanguage, text, translate } from "./texts.js";

const FIRST_VIEW = { center: [-12.25, -38.95], zoom: 12 };
const CLOSEST_VIEW = 14; // Nearer than that there would be nothing but an empty plane.
const CLOSEST_TILES = 18;

const icon = (path) => svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" },
  svg("path", { d: path }));

function control(label, path, action) {
  return el("button", { type: "button", "data-label": label, onclick: action }, icon(path));
}

/** Put the map into `root`, the meaning of its signs into `legend`. */
export function mountMap(root, legend, { network, settings, wire, onCharge }) {
  const L = window.L;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const map = L.map(root, {
    ...FIRST_VIEW,
    zoomAnimation: !calm,
    fadeAnimation: !calm,
    markerZoomAnimation: !calm,
    inertia: !calm,
    minZoom: settings.tiles ? 3 : 8,
    maxZoom: settings.tiles ? CLOSEST_TILES : CLOSEST_VIEW,
    zoomSnap: 0.25,
    zoomControl: false,
    attributionControl: false,
  });
  const note = el("p", { class: "ground-note" });
  const all = (options = {}) => {
    const where = bounds(network.stations.values());
    if (where === null) return;
    map.fitBounds([[where.south, where.west], [where.north, where.east]], {
      // Beside the buttons, and above the note.
      paddingTopLeft: [root.clientWidth < 600 ? 64 : 28, 28],
      paddingBottomRight: [24, 48],
      maxZoom: CLOSEST_VIEW,
      animate: !calm,
      ...options,
    });
  };
  const controls = el("div", { class: "controls" },
    control("map.closer", "M10 4v12M4 10h12", () => map.zoomIn(1)),
    control("map.farther", "M4 10h12", () => map.zoomOut(1)),
    control("map.all", "M4 8V4h4m4 0h4v4m0 4v4h-4m-4 0H4v-4", () => all()));
  const north = el("div", { class: "north", role: "img", "data-label": "map.north" },
    svg("svg", { viewBox: "0 0 20 28", "aria-hidden": "true" },
      svg("path", { d: "M10 1l6 16-6-4-6 4z" }),
      svg("text", { x: 10, y: 27, "text-anchor": "middle" }, "N")));
  root.append(controls, north, note);
  for (const part of [controls, note]) {
    L.DomEvent.disableClickPropagation(part);
    L.DomEvent.disableScrollPropagation(part);
  }
  L.control.scale({ imperial: false, position: "bottomright", maxWidth: 120 }).addTo(map);
  const ground = addGround(map, L, settings, note);
  translate(root);
  fillLegend(legend);

  // The station that is looked at

  let shown = null;
  // One each time: Leaflet takes a closed one out of the page a moment later, open again or not.
  const newPopup = () => L.popup({
    closeButton: false, closeOnEscapeKey: false, className: "station-popup",
    minWidth: 250, maxWidth: 300, maxHeight: Math.max(180, root.clientHeight - 60),
    // Beside the buttons; where the map is narrow those make room.
    autoPanPaddingTopLeft: [root.clientWidth < 400 ? 14 : 60, 14], autoPanPaddingBottomRight: [14, 14],
    offset: [0, -6],
  });
  const close = (giveBack) => {
    if (shown === null) return;
    const { id, details, popup } = shown;
    shown = null;
    root.classList.remove("has-popup");
    details.remove();
    map.closePopup(popup);
    if (giveBack) markers.focus(id);
  };
  map.on("popupclose", (event) => event.popup === shown?.popup && close(false));
  function open(id) {
    const station = network.stations.get(id);
    if (station === undefined) return;
    if (shown?.id === id) {
      shown.details.focus();
      return;
    }
    close(false);
    const popup = newPopup();
    const details = makeDetails(id, { network, wire, onCharge, onClose: () => close(true) });
    // Not by popup.update(), which takes the content out and puts it in again: the focus would be
    // lost.
    details.onResize = () => {
      if (!popup.isOpen()) return;
      popup._updateLayout();
      popup._updatePosition();
    };
    shown = { id, details, popup };
    root.classList.add("has-popup");
    popup.setLatLng([station.latitude, station.longitude]).setContent(details.element).openOn(map);
    details.focus();
  }
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || shown === null || picking !== null) return;
    event.stopPropagation();
    close(true);
  });

  // A place that is asked for

  let picking = null;
  function endPicking(settle, value) {
    if (picking === null) return;
    const asked = picking;
    picking = null;
    root.classList.remove("is-picking");
    document.removeEventListener("keydown", asked.onKey);
    asked[settle](value);
  }
  const placeOf = ({ lat, lng }) => ({ latitude: lat, longitude: lng });
  map.on("click", (event) => {
    if (picking !== null) endPicking("resolve", placeOf(event.latlng.wrap()));
    else if (markers.hasDotAt(event.layerPoint)) map.setView(event.latlng, map.getZoom() + 1.5);
  });

  const markers = new Markers(map, L, root, network, (id) => {
    if (picking === null) open(id);
    else {
      const { latitude, longitude } = network.stations.get(id);
      endPicking("resolve", { latitude, longitude });
    }
  }, (hasDots) => legend.classList.toggle("has-dots", hasDots));

  let isFirst = true;
  let isPart = false;
  network.onChange(({ ids, whole }) => {
    if (whole) root.classList.remove("is-loading");
    if (whole && isFirst && !isPart && network.stations.size) {
      isFirst = false;
      all({ animate: false }); // Which has the markers made.
    } else if (whole) markers.reset();
    else markers.update(ids);
    if (shown !== null && (whole || ids.has(shown.id))) shown.details.update();
  });
  onLanguage(() => {
    markers.reset();
    shown?.details.update();
    if (car !== null) mark(car.getElement(), "aria-label", text("map.car"));
  });
  // The map's box changes with the window's, and with what stands above it.
  new ResizeObserver(() => map.invalidateSize({ animate: false })).observe(root);

  let car = null;
  let reach = null;
  return {
    /** Where the reader clicks; rejected with Escape, by an AbortSignal, or when asked again. */
    pick(signal = null) {
      endPicking("reject", new Error("asked again"));
      close(false);
      return new Promise((resolve, reject) => {
        const onKey = (event) => {
          if (event.key === "Escape") endPicking("reject", new Error("escape"));
        };
        picking = { resolve, reject, onKey };
        document.addEventListener("keydown", onKey);
        root.classList.add("is-picking");
        signal?.addEventListener("abort", () => endPicking("reject", new Error("stopped")));
      });
    },
    /** The middle of what is seen. */
    centre: () => placeOf(map.getCenter().wrap()),
    /** Show where the car is; null: nowhere. */
    car(place) {
      car?.remove();
      car = null;
      if (place === null) {
        this.range(null);
        return;
      }
      const drawn = el("div", { class: "car", role: "img", "aria-label": text("map.car") },
        icon("M3.500 11l1.800-4.500A2 2 0 0 1 7.200 5.200h5.600a2 2 0 0 1 1.900 1.300l1.800 4.500v4.500h-2.300v-1.700H5.800v1.700H3.500z"));
      const made = L.Icon.extend({ createIcon: () => drawn, createShadow: () => null });
      car = L.marker([place.latitude, place.longitude], {
        icon: new made(), interactive: false, keyboard: false, zIndexOffset: 5000,
      }).addTo(map);
      reach?.setLatLng(car.getLatLng());
    },
    /** Draw a circle of so many km about the car; null: none. Where it is beyond what is seen, it
     * is drawn all the same. */
    range(km) {
      reach?.remove();
      reach = null;
      if (km === null || car === null || !(km > 0)) return;
      reach = L.circle(car.getLatLng(), { radius: km * 1000, interactive: false, className: "reach" });
      reach.addTo(map);
    },
    /** Bring a station into view, and open what is known of it. */
    focusStation(id) {
      const station = network.stations.get(id);
      if (station === undefined) return;
      map.setView([station.latitude, station.longitude], Math.max(map.getZoom(), 13), { animate: !calm });
      markers.show(id);
      open(id);
    },
    /** Have another layer drawn: `new Layer(map, L, root, ...more)`. */
    addLayer: (Layer, ...more) => new Layer(map, L, root, ...more),
    /** Put a station into relief, such as the suggested one; null: none. */
    highlight: (id) => markers.highlight(id),
    /** See both, a place and a station. */
    showBoth(place, id) {
      const station = network.stations.get(id);
      if (station === undefined || place === null) return;
      map.fitBounds([[place.latitude, place.longitude], [station.latitude, station.longitude]],
        { padding: [56, 56], maxZoom: 13, animate: !calm });
    },
    all,
    /** The network is too large for all of it to be shown: begin about `place`. */
    showPart({ latitude, longitude }) {
      isPart = true;
      ground.isPart();
      map.setView([latitude, longitude], 12, { animate: false });
    },
    closer: () => map.zoomIn(1),
    onMove: (listener) => map.on("moveend", listener),
    /** What is seen: `{south, west, north, east}`. */
    bounds() {
      const seen = map.getBounds();
      return { south: Math.max(-90, seen.getSouth()), west: Math.max(-180, seen.getWest()),
        north: Math.min(90, seen.getNorth()), east: Math.min(180, seen.getEast()) };
    },
  };
}
