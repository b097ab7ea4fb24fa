// The figures of the network: what is taken and delivered now, and how it was over the last hour.

import { makeChart } from "./chart.js";
import { el, say } from "./dom.js";
import { format } from "./format.js";
import { onLanguage, text, translate } from "./texts.js";

const whole = (value) => format.number(value);

function figure(name, chart, unit = null) {
  const value = el("span", { class: "value" }, "–");
  const of = el("span", { class: "of" }, unit ?? "");
  const element = el("div", { class: `figure is-${name}` },
    el("h3", { "data-text": `network.${name}` }), el("p", { class: "big" }, value, " ", of), chart.element);
  return { element, value, of };
}

function count(name) {
  const value = el("dd", {}, "–");
  return { value, element: el("div", {}, el("dt", { "data-text": `network.${name}` }), value) };
}

/** Show the network's figures in `root`. */
export function mountNetwork(root, { network }) {
  const takenChart = makeChart("taken", whole);
  const loadChart = makeChart("load", format.kw);
  const taken = figure("taken", takenChart);
  const load = figure("load", loadChart, "kW");
  const counts = Object.fromEntries(
    ["waiting", "sessions", "energy", "out"].map((name) => [name, count(name)]));
  const list = el("dl", { class: "counts" }, ...Object.values(counts).map(({ element }) => element));
  root.append(el("div", { class: "figures" }, taken.element, load.element), list);

  // What is there now is counted from the stations, which are told at once; the rest is of the
  // newest point.
  function writeNow() {
    let [slots, held, waiting, out] = [0, 0, 0, 0];
    for (const station of network.stations.values()) {
      slots += station.max_slots;
      held += station.max_slots - station.available_slots;
      waiting += station.queue_length;
      out += station.out_of_service;
    }
    const newest = network.figures.at(-1);
    if (network.isPart && newest !== undefined) {
      ({ slots, queue_length: waiting, out_of_service: out } = newest);
      held = newest.occupied + newest.reserved;
    }
    say(taken.value, whole(held));
    say(taken.of, text("network.taken.of", { m: whole(slots) }));
    say(counts.waiting.value, whole(waiting));
    say(counts.out.value, whole(out));
  }

  function writeFigures() {
    const points = network.figures.map((point) => ({ ...point, at: Date.parse(point.timestamp) }));
    const newest = points.at(-1);
    const slots = Math.max(1, ...points.map((point) => point.slots));
    takenChart.update(
      points.map(({ at, occupied, reserved }) => ({ at, value: occupied + reserved })), slots);
    loadChart.update(points.map(({ at, load_kw: value }) => ({ at, value })));
    if (newest === undefined) return;
    say(load.value, format.kw(newest.load_kw));
    say(counts.sessions.value, whole(newest.sessions));
    say(counts.energy.value, format.kwh(newest.energy_kwh));
  }

  function writeAll() {
    translate(root);
    list.title = text("network.since");
    if (network.at !== null) writeNow();
    writeFigures();
  }
  network.onChange(({ ids, whole: all, figures }) => {
    if (all || ids.size || figures) writeNow();
    if (all || figures) writeFigures();
  });
  onLanguage(writeAll);
  writeAll();
}
