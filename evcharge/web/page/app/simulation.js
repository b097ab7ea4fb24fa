// What is simulated: the cars on the map, what their signs mean and how many there are, and the clock.

import { Cars, STATES } from "./cars.js";
import { el, mark, say, svg } from "./dom.js";
import { format } from "./format.js";
import { onLanguage, text, translate } from "./texts.js";

const COUNT_MS = 500;
const LEAST_TICK_MS = 250;

const SIGNS = {
  driving: [["circle", { cx: 8, cy: 8, r: 5 }], "M3 8.500h10a5 5 0 0 1-10 0z"],
  waiting: [["path", { d: "M8 2l6 6-6 6-6-6z" }], "M2.500 8.500h11L8 14z"],
  charging: [["rect", { x: 3, y: 3, width: 10, height: 10, rx: 1.5 }], "M3 8.500h10v4.500H3z"],
};

function sign(state) {
  const [[tag, shape], filled] = SIGNS[state];
  return svg("svg", { class: "car-sign", "data-state": state, viewBox: "0 0 16 16", "aria-hidden": "true" },
    svg("path", { class: "filled", d: filled }), svg(tag, shape));
}

/** How many cars are in each state, and how full they are. */
function count(vehicles) {
  const found = Object.fromEntries(STATES.map((state) => [state, { count: 0, battery: 0 }]));
  for (const { state, battery_percent: battery } of vehicles.values()) {
    found[state].count += 1;
    found[state].battery += battery;
  }
  return found;
}

/** The time in the simulation and how fast it goes, in `root`. */
function makeClock(root, network, timeZone) {
  const time = el("time");
  const label = el("span", { class: "visually-hidden" });
  const speed = el("span", { class: "speed" });
  root.append(label, time, " ", speed);
  let call = 0;
  function tell() {
    clearTimeout(call);
    const { simulation } = network;
    root.hidden = simulation === null;
    if (simulation === null) return;
    const isLive = document.documentElement.dataset.link === "live";
    // Without news it is not known to go on.
    const gone = isLive ? performance.now() - simulation.heardAt : 0;
    const now = Date.parse(simulation.timestamp) + gone * simulation.speed;
    say(label, text("clock"));
    say(time, format.weekday(now, timeZone));
    mark(time, "datetime", new Date(now).toISOString());
    say(speed, `${format.kw(simulation.speed)}×`);
    if (isLive) call = setTimeout(tell, Math.max((60_000 - (now % 60_000)) / simulation.speed, LEAST_TICK_MS));
  }
  new MutationObserver(tell).observe(document.documentElement, { attributeFilter: ["data-link"] });
  return tell;
}

/** What the cars' signs mean, with how many there are, at the end of the `legend`. */
function makeSigns(legend) {
  const made = STATES.map((state) => {
    const said = el("span");
    return { state, said, element: el("li", { class: "is-car" }, sign(state), said) };
  });
  const battery = el("li", { class: "is-car is-remark", "data-text": "legend.battery" });
  const all = [...made.map(({ element }) => element), battery];
  legend.append(...all);
  return (found) => {
    for (const element of all) element.hidden = found === null;
    if (found === null) return;
    for (const { state, said } of made) say(said, text(`legend.${state}`, { n: format.number(found[state].count) }));
  };
}

/** How many vehicles there are, and their batteries as a table, at the end of the `panel`. */
function makeCounts(panel) {
  const figure = (key) => {
    const value = el("dd");
    return { value, element: el("div", {}, el("dt", { "data-text": key }), value) };
  };
  const total = figure("vehicles");
  const figures = STATES.map((state) => ({ state, ...figure(`vehicles.${state}`) }));
  const rows = STATES.map((state) => ({ state, number: el("td"), battery: el("td") }));
  const counts = [total, ...figures].map(({ element }) => element);
  const numbers = el("details", { class: "numbers" },
    el("summary", { "data-text": "vehicles.numbers" }),
    el("table", {},
      el("caption", { class: "visually-hidden", "data-text": "vehicles.title" }),
      el("thead", {}, el("tr", {}, ...["state", "count", "battery"].map((key) =>
        el("th", { scope: "col", "data-text": `vehicles.${key}` })))),
      el("tbody", {}, ...rows.map(({ state, number, battery }) =>
        el("tr", {}, el("th", { scope: "row", "data-text": `vehicles.${state}` }), number, battery)))));
  panel.querySelector(".counts").append(...counts);
  panel.append(numbers);
  return (found) => {
    for (const element of [...counts, numbers]) element.hidden = found === null;
    if (found === null) return;
    say(total.value, format.number(STATES.reduce((sum, state) => sum + found[state].count, 0)));
    for (const { state, value } of figures) say(value, format.number(found[state].count));
    for (const { state, number, battery } of rows) {
      const { count: many, battery: sum } = found[state];
      say(number, format.number(many));
      say(battery, many ? format.percent(sum / many) : "–");
    }
  };
}

/**
 * Show what is simulated, whenever something is.
 *
 * @param clock is where the time stands; `legend` and `panel` are added to.
 */
export function mountSimulation({ network, map, settings, clock, legend, panel }) {
  const cars = map.addLayer(Cars, network);
  const tellTime = makeClock(clock, network, settings.time_zone);
  const parts = [makeSigns(legend), makeCounts(panel)];
  let call = 0;
  function tellCounts() {
    call = 0;
    const found = network.simulation === null ? null : count(network.vehicles);
    for (const part of parts) part(found);
  }
  network.onChange(({ simulation }) => {
    if (!simulation) return;
    cars.update();
    tellTime();
    if (!call) call = setTimeout(tellCounts, COUNT_MS);
  });
  onLanguage(() => {
    translate(legend);
    translate(panel);
    tellCounts();
    tellTime();
  });
  translate(legend);
  translate(panel);
  tellCounts();
  tellTime();
}
