// My journey before it begins: the car, and where it is.

import { el, mark, say } from "./dom.js";
import { rangeOf } from "./trip-journey.js";
import { button, heading, steady } from "./trip-parts.js";
import { slider } from "./trip-slider.js";

const FULL = 100;

/** Which car, and how full its battery is. */
export function carView(state, { cars, text, format, send }) {
  const title = heading(text("trip.car.title"));
  if (cars.size === 0) {
    return { title, element: el("div", { class: "trip-view" }, title,
      el("p", { class: "note" }, text("trip.loading")), el("div", { class: "trip-skeleton", "aria-hidden": "true" })) };
  }
  let { form } = state;
  const choice = el("select", { id: "trip-car", onchange: () => send({ is: "form", form: { car: choice.value } }) },
    el("option", { value: "", disabled: true, hidden: true }, text("trip.car.choose")), ...byBrand(cars, format));
  const battery = slider("trip-battery", text("trip.battery"),
    (value) => send({ is: "form", form: { battery: value } }));
  const target = slider("trip-target", text("trip.target"),
    (value) => send({ is: "form", form: { target: Math.min(FULL, Math.max(value, form.battery + 1)) } }));
  const range = el("p", { class: "trip-range", id: "trip-range" });
  const energy = el("span", { class: "note" });
  const full = el("p", { class: "note trip-full" });
  const problem = el("p", { class: "trip-problem", id: "trip-problem" });
  const next = button(text("trip.next"), goOn, "primary wide");

  function goOn() {
    if (form.car === null) {
      say(problem, text("trip.car.none"));
      mark(choice, "aria-invalid", "true");
      mark(choice, "aria-describedby", "trip-problem");
      choice.focus();
    } else send({ is: state.place === null ? "toPlace" : "search" });
  }

  function update(now) {
    state = now;
    ({ form } = now);
    choice.value = form.car ?? "";
    battery.show(form.battery, format.percent(form.battery));
    target.show(form.target, format.percent(form.target), form.battery);
    const car = cars.get(form.car);
    if (car === undefined) say(range, text("trip.range.unknown"));
    else if (form.battery === 0) say(range, text("trip.range.zero"));
    else say(range, text("trip.range", { km: format.km(rangeOf(car, form.battery)) }));
    range.classList.toggle("is-known", car !== undefined && form.battery > 0);
    const kwh = car === undefined ? 0 : (car.battery_capacity * (form.target - form.battery)) / FULL;
    say(energy, kwh > 0 ? text("trip.energy", { kwh: format.kwh(kwh) }) : "");
    if (car !== undefined) mark(choice, "aria-invalid", null);
    if (car !== undefined) say(problem, "");
    say(full, form.battery === FULL ? text("trip.full_battery") : "");
  }
  update(state);
  return { title, update, element: el("div", { class: "trip-view" }, title,
    el("div", { class: "field" }, el("label", { for: "trip-car" }, text("trip.car")), choice),
    battery.element, target.element,
    el("div", { class: "trip-reach" }, range, energy), full, problem, next) };
}

function byBrand(cars, format) {
  const brands = new Map();
  for (const [name, car] of cars) {
    const brand = car.brand || "–";
    if (!brands.has(brand)) brands.set(brand, []);
    brands.get(brand).push(name);
  }
  return [...brands].sort(([one], [other]) => format.compare(one, other)).map(([brand, names]) =>
    el("optgroup", { label: brand }, ...names.sort(format.compare).map((name) => el("option", { value: name }, name))));
}

/** Where the car is: on the map, in its middle, or at a station. */
export function placeView(state, { cars, network, map, text, format, send }) {
  const title = heading(text("trip.place.title"));
  const car = cars.get(state.form.car);
  const km = car === undefined ? null : format.km(rangeOf(car, state.form.battery));
  const range = km === null || state.form.battery === 0 ? null : el("p", { class: "note" }, text("trip.range", { km }));
  const back = button(text("trip.change_car"), () => send({ is: "toCar" }), "quiet");
  if (state.asking !== null) {
    return { title, element: el("div", { class: "trip-view" }, title, range,
      el("p", { class: "trip-wait" }, el("span", { class: "trip-spinner", "aria-hidden": "true" }), text("trip.searching")),
      ...steady(3), back) };
  }

  const take = (place, wish = null) => send({ is: "place", place, wish });
  const hint = el("p", { class: "trip-hint" });
  const onMap = button(text("trip.place.again"), pick, "trip-on-map");
  const over = new AbortController();
  // On a phone the map and the trip are not seen at once.
  const pill = el("p", { class: "trip-pill", "aria-hidden": "true" }, text("trip.place"));
  function listen() {
    say(hint, text("trip.place"));
    hint.classList.add("is-armed");
    document.getElementById("map").parentElement.append(pill);
    map.pick(over.signal).then((place) => take({ ...place, station: null }), () => {
      hint.classList.remove("is-armed");
      pill.remove();
    });
  }
  function pick() {
    document.getElementById("map").scrollIntoView({ block: "start" });
    listen();
  }
  const centre = button(text("trip.place.centre"), () => take({ ...map.centre(), station: null }));
  const stations = [...network.stations.values()].sort((one, other) => format.compare(one.name_station, other.name_station));
  const list = el("select", { id: "trip-station" }, el("option", { value: "" }, text("trip.place.station.choose")),
    ...stations.map(({ id, name_station: name }) => el("option", { value: id }, name)));
  const go = button(text("trip.place.go"), () => {
    const station = network.stations.get(list.value);
    if (station === undefined) list.focus();
    else {
      take({ latitude: station.latitude, longitude: station.longitude, station: station.id },
        { id: station.id, km: 0, name: station.name_station });
    }
  });
  const known = state.place ?? state.lastPlace;
  const same = known === null ? null : button(text("trip.place.same"), () => take(known, state.wish));
  listen();
  return {
    title,
    end() {
      pill.remove();
      over.abort();
    },
    element: el("div", { class: "trip-view" }, title, range, hint,
      el("div", { class: "trip-row" }, onMap, centre, same),
      stations.length === 0 ? null : el("div", { class: "field" }, el("label", { for: "trip-station" }, text("trip.place.station")),
        el("div", { class: "trip-join" }, list, go)),
      back),
  };
}
