// My journey's choice: which station, and then how: paid for, reserved, or in its queue.

import { el, mark, say } from "./dom.js";
import { chosenOption, rangeOf } from "./trip-journey.js";
import { button, facts, heading, steady } from "./trip-parts.js";
import { isPriceless } from "./trip-words.js";

const HERE_KM = 0.05;
const CRITERIA = ["distance", "time", "price"];

/** The suggestion and the others, one of which is chosen. */
export function stationsView(state, tools) {
  const { cars, text, format, words, send } = tools;
  const car = cars.get(state.form.car);
  const range = car === undefined || state.form.battery === 0 ? null : el("p", { class: "note" },
    text(state.excluded?.out_of_range === 0 ? "trip.place.all" : "trip.place.circle",
      { km: format.km(rangeOf(car, state.form.battery)) }));
  const farther = button(text("trip.farther"), () => send({ is: "toGoal" }), "wide");
  const changes = el("div", { class: "trip-row" },
    button(text("trip.change_place"), () => send({ is: "toPlace" }), "quiet"),
    button(text("trip.change_car"), () => send({ is: "toCar" }), "quiet"));
  if (state.options.length === 0) return nothingView(state, tools, range, farther, changes);

  const title = heading(text("trip.stations.title"));
  const cards = state.options.map((option, index) => optionCard(option, index, state, tools));
  const next = button("", () => send({ is: "confirm", id: state.chosen }), "primary wide");
  const see = button(text("trip.see"), () => tools.map.focusStation(state.chosen), "quiet");
  const left = words.excluded(state.excluded);
  const list = el("fieldset", { class: "trip-options" },
    el("legend", { class: "visually-hidden" }, text("trip.stations.title")), ...cards.map((card) => card.element));

  function update(now) {
    state = now;
    for (const card of cards) card.update(now);
    say(next, text("trip.continue_with", { name: tools.nameOf(now.chosen) }));
    mark(list, "aria-busy", now.asking === null ? null : "true");
  }
  update(state);
  return { title, update, element: el("div", { class: "trip-view" }, title, range, farther,
    criteria(state, tools), list,
    el("p", { class: "note" }, text("trip.straight"), left === null ? null : ` ${left}`),
    see, changes, el("div", { class: "trip-next" }, next)) };
}

function criteria(state, { text, send }) {
  return el("fieldset", { class: "trip-criteria" },
    el("legend", {}, text("trip.criterion")),
    ...CRITERIA.map((criterion) => el("label", {},
      el("input", { type: "radio", name: "trip-criterion", value: criterion, checked: criterion === state.criterion,
        id: `trip-criterion-${criterion}`, onchange: () => send({ is: "search", criterion }) }),
      el("span", {}, text(`trip.criterion.${criterion}`)))));
}

function optionCard(option, index, state, { text, format, words, send, nameOf }) {
  const id = option.id_station;
  const best = state.options[0];
  const isFull = option.fitting_slots === 0;
  // The first one's reason says already what it is best in.
  const marks = words.bestIn(option, state.options).filter((key) => index > 0 || key !== state.criterion);
  const chips = [
    index === 0 ? el("span", { class: "chip trip-best" }, text("trip.best")) : null,
    ...marks.map((key) => el("span", { class: "chip", "data-look": "free" }, text(`trip.tag.${key}`))),
    isFull ? el("span", { class: "chip", "data-look": "full" }, words.slots(option)) : null,
  ];
  const times = [
    option.distance_km < HERE_KM ? text("trip.here") : text("trip.km", { km: format.km(option.distance_km) }),
    text("trip.charge_time", { time: format.minutes(option.charge_minutes) }),
    option.wait_minutes > 0 ? text("trip.wait_time", { time: format.minutes(option.wait_minutes) }) : null,
    isFull ? null : words.slots(option),
  ];
  const why = index === 0 ? [words.why(option, state.criterion)] : words.differences(option, best);
  const input = el("input", { type: "radio", name: "trip-option", value: id, id: `trip-option-${id}`,
    onchange: () => send({ is: "choose", id }) });
  const element = el("label", { class: "trip-option" }, input,
    el("span", { class: "trip-option-body" },
      chips.some((chip) => chip !== null) ? el("span", { class: "trip-chips" }, ...chips) : null,
      el("span", { class: "trip-option-head" },
        el("strong", { class: "trip-option-name" }, nameOf(id)),
        el("span", { class: isPriceless(option) ? "trip-option-price is-unknown" : "trip-option-price" }, words.price(option))),
      el("span", { class: "trip-option-facts" }, ...dotted(times)),
      why.length === 0 ? null : el("span", { class: "trip-option-why" }, ...dotted(why))));
  return {
    element,
    update(now) {
      input.checked = now.chosen === id;
      element.classList.toggle("is-chosen", now.chosen === id);
    },
  };
}

/** Texts in a row; a line breaks between two of them, not within one. */
const dotted = (texts) => texts.filter((one) => one !== null)
  .flatMap((one, index) => [index > 0 ? " · " : null, el("span", { class: "trip-piece" }, one)]);

function nothingView(state, { text, words, send, nameOf, network }, range, farther, changes) {
  const title = heading(text("trip.none.title"));
  const here = state.place.station;
  // Whose car stands at a station with an empty battery is out of range of it, and yet there.
  const stay = here === null || !network.stations.has(here) ? null
    : button(text("trip.none.here"), () => send({ is: "confirm", id: here }), "primary wide");
  return { title, element: el("div", { class: "trip-view" }, title, range,
    el("p", { class: "trip-message" }, words.nothing(state, nameOf)),
    el("p", { class: "note" }, words.excluded(state.excluded)), stay, state.form.battery === 0 ? null : farther, changes) };
}

/** What the chosen station comes to, and what may be done there. */
export function confirmView(state, tools) {
  const { text, send } = tools;
  const title = heading(text("trip.confirm.title"));
  const back = button(text("trip.other"), () => send({ is: "toStations" }), "quiet");
  const name = el("p", { class: "trip-name" }, tools.nameOf(state.chosen));
  if (state.details === null) {
    return { title, element: el("div", { class: "trip-view" }, title, name, ...steady(4), back) };
  }
  const { station } = state.details;
  const option = chosenOption(state) ?? withoutFigures(state, tools);
  return { title, element: el("div", { class: "trip-view" }, title,
    el("div", {}, name, station.address ? el("p", { class: "note" }, station.address) : null),
    estimate(option, state, tools),
    ...tools.words.assumptions(option, station).map((said) => el("p", { class: "trip-assumed" }, said)),
    ...ways(option, state, tools), back) };
}

/** The figures of a station that the car is at, but which is out of its range: the battery is empty. */
function withoutFigures(state, { cars }) {
  const { station } = state.details;
  const car = cars.get(state.form.car);
  const energy = (car.battery_capacity * (state.form.target - state.form.battery)) / 100;
  const isPlain = station.tariff === null && station.price_kwh !== null;
  return {
    id_station: state.chosen, price_loading: isPlain ? energy * station.price_kwh : null,
    energy_kwh: energy, arrival_percent: state.form.battery, target_percent: state.form.target,
    travel_minutes: 0, wait_minutes: 0, charge_minutes: null, power_kw: null, connector: null,
    fitting_slots: null, queue_length: station.queue_length, assumed: station.price_known ? [] : ["price"],
  };
}

function estimate(option, state, { text, format, words }) {
  const of = {
    travel: format.minutes(option.travel_minutes), wait: format.minutes(option.wait_minutes),
    charge: option.charge_minutes === null ? null : format.minutes(option.charge_minutes),
  };
  const time = option.wait_minutes > 0 ? "trip.time.wait" : option.travel_minutes > 0 ? "trip.time.of" : "trip.charge_time";
  const price = option.price_loading === null ? text("trip.estimate.unknown") : words.price(option);
  return facts([
    [text("trip.slot"), option.connector === null ? null : option.power_kw === null ? option.connector
      : text("trip.slot.power", { connector: option.connector, kw: format.kw(option.power_kw) })],
    [text("trip.charge"), text("trip.charge.of", { from: words.percent(option.arrival_percent),
      to: words.percent(option.target_percent), kwh: format.kwh(option.energy_kwh) })],
    [text("trip.time"), of.charge === null ? null : text(time, { ...of, time: of.charge })],
    [text("trip.tariff"), words.tariff(state.details)],
    [text("trip.estimate"), el("strong", { class: "trip-sum" }, price)],
  ]);
}

/** What a reader may do: pay or reserve, or join the line where all is taken. */
function ways(option, state, { text, format, send }) {
  const { full } = state;
  if (full !== null || option.fitting_slots === 0) {
    const n = (full?.queue ?? option.queue_length) + 1;
    const min = full === null ? option.travel_minutes + option.wait_minutes : full.eta;
    const label = min === null || min === undefined ? text("trip.queue.unknown", { n })
      : text("trip.queue", { n, min: format.number(Math.ceil(min)) });
    return [button(label, () => send({ is: "join" }), "primary wide"),
      el("p", { class: "note" }, text("trip.queue.note"))];
  }
  const price = option.price_loading;
  const label = price === null || price === undefined || isPriceless(option) ? text("trip.pay.unknown")
    : text("trip.pay", { price: format.money(price) });
  return [button(label, () => send({ is: "pay" }), "primary wide"),
    el("p", { class: "note" }, text("trip.pay.note")),
    button(text("trip.reserve"), () => send({ is: "reserve" }), "wide")];
}
