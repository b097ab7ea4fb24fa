// My journey beyond the range: where to, how much is to stay in the battery, and the plans there are.

import { el, mark, say } from "./dom.js";
import { makeFront } from "./trip-front.js";
import { planned, rangeOf } from "./trip-journey.js";
import { button, facts, figure, heading } from "./trip-parts.js";
import { slider } from "./trip-slider.js";

const MOST_RESERVE = 50;
const DECIMALS = 4; // of degrees: some ten metres
const LIMITS = { latitude: 90, longitude: 180 };
// Who drags the slider, or goes along it by the keyboard, is asked about once.
const SETTLED_MS = 600;
const LEAST_KM = 0.1;
const LEAST_GAP = 0.05; // minutes

/** Where to, on the map or by its degrees, and with which reserve. */
export function goalView(state, { cars, map, text, format, send }) {
  const title = heading(text("trip.goal.title"));
  const car = cars.get(state.form.car);
  const range = car === undefined ? null : el("p", { class: "note" },
    text("trip.range", { km: format.km(rangeOf(car, state.form.battery)) }));
  const full = state.form.battery === 100 ? el("p", { class: "note" }, text("trip.full_battery")) : null;
  const hint = el("p", { class: "trip-hint" });
  const pill = el("p", { class: "trip-pill", "aria-hidden": "true" }, text("trip.goal.place"));
  const problem = el("p", { class: "trip-problem", id: "trip-goal-problem" });
  const over = new AbortController();
  const plane = document.getElementById("map");
  let isTyped = false;

  function listen() {
    hint.classList.add("is-armed");
    if (state.goal === null) plane.parentElement.append(pill);
    map.pick(over.signal).then((goal) => {
      take(goal);
      listen();
      go.scrollIntoView({ block: "nearest" });
    }, () => {
      hint.classList.remove("is-armed");
      pill.remove();
    });
  }
  function pick() {
    plane.scrollIntoView({ block: "start" });
    listen();
  }
  function take(goal) {
    isTyped = false;
    complain("");
    send({ is: "goal", goal });
  }
  const coordinate = (name) => el("input", { id: `trip-${name}`, inputmode: "text", autocomplete: "off",
    oninput: typed });
  const inputs = { latitude: coordinate("latitude"), longitude: coordinate("longitude") };

  function typed() {
    isTyped = true;
    complain("");
    const goal = read();
    if (goal !== null) send({ is: "goal", goal });
  }
  /** What is typed, or null where it is no place. */
  function read() {
    const goal = {};
    for (const [name, input] of Object.entries(inputs)) {
      const typedIn = input.value.trim().replace(",", ".").replace("−", "-");
      const degrees = Number(typedIn);
      if (typedIn === "" || !(Math.abs(degrees) <= LIMITS[name])) return null;
      goal[name] = degrees;
    }
    return goal;
  }
  function complain(said) {
    say(problem, said);
    for (const input of Object.values(inputs)) {
      mark(input, "aria-invalid", said ? "true" : null);
      mark(input, "aria-describedby", said ? problem.id : null);
    }
  }
  function start() {
    if (isTyped && read() === null) {
      complain(text("trip.goal.wrong"));
      inputs.latitude.focus();
    } else if (state.goal === null) {
      complain(text("trip.goal.none"));
      inputs.latitude.focus();
    } else send({ is: "plan" });
  }

  const reserve = reserveSlider({ text, format }, (value) => send({ is: "keep", reserve: value }));
  const go = button(text("trip.plan.go"), start, "primary wide");
  const wait = el("p", { class: "trip-wait", hidden: true },
    el("span", { class: "trip-spinner", "aria-hidden": "true" }), text("trip.plan.searching"));
  function update(now) {
    state = now;
    say(hint, text(now.goal === null ? "trip.goal.place" : "trip.goal.again"));
    if (now.goal !== null) pill.remove();
    if (!isTyped && now.goal !== null) {
      for (const [name, input] of Object.entries(inputs)) input.value = format.number(now.goal[name], DECIMALS);
    }
    reserve.show(now.reserve);
    wait.hidden = now.asking === null;
  }
  update(state);
  listen();
  return {
    title,
    update,
    end() {
      pill.remove();
      over.abort();
    },
    element: el("div", { class: "trip-view" }, title, range, full, hint,
      el("div", { class: "trip-row" },
        button(text("trip.place.again"), pick, "trip-on-map"),
        button(text("trip.place.centre"), () => take(map.centre()))),
      el("div", { class: "trip-degrees" }, ...Object.entries(inputs).map(([name, input]) =>
        el("div", { class: "field" }, el("label", { for: input.id }, text(`trip.goal.${name}`)), input))),
      problem, reserve.element, go, wait, el("div", { class: "trip-row" }, ...backs(state, { text, send }))),
  };
}

/** Ways back; to the stations where they are known. */
const backs = (state, { text, send }) => [
  state.options === null ? button(text("trip.change_place"), () => send({ is: "toPlace" }), "quiet")
    : button(text("trip.stations.back"), () => send({ is: "toStations" }), "quiet"),
  button(text("trip.change_car"), () => send({ is: "toCar" }), "quiet"),
];

function reserveSlider({ text, format }, changed) {
  const made = slider("trip-reserve", text("trip.reserve_percent"), changed, MOST_RESERVE);
  return { element: made.element, show: (value) => made.show(value, format.percent(value)) };
}

/** The plans of a trip, one of which is looked at; or why there is none. */
export function planView(state, tools) {
  const { text, format, send } = tools;
  const isFound = planned(state) !== null;
  const title = heading(isFound ? headline(planned(state), text) : text("trip.plan.none.title"));
  let settling = 0;
  const reserve = reserveSlider(tools, (value) => {
    send({ is: "keep", reserve: value });
    clearTimeout(settling);
    settling = setTimeout(() => send({ is: "plan" }), SETTLED_MS);
  });
  const shown = isFound ? planParts(state, tools) : noPlan(state, tools);
  const ways = el("div", { class: "trip-row" },
    button(text("trip.goal.change"), () => send({ is: "toGoal" }), "quiet"), ...backs(state, tools));
  function update(now) {
    state = now;
    reserve.show(now.reserve);
    if (!isFound) return;
    say(title, headline(planned(now), text));
    shown.update(now);
  }
  update(state);
  const said = !isFound ? shown.said
    : text("trip.plan.said", { title: title.textContent, time: format.minutes(planned(state).total_minutes),
      price: format.money(planned(state).price) });
  return { title, update, said, end: () => clearTimeout(settling),
    element: el("div", { class: "trip-view" }, title, shown.top, reserve.element, shown.rest, ways, shown.next) };
}

/** In a word, what a plan is. */
function headline({ stops }, text) {
  if (stops.length === 0) return text("trip.plan.direct");
  return stops.length === 1 ? text("trip.plan.one") : text("trip.plan.stops", { n: stops.length });
}

function planParts(state, tools) {
  const { text, format, words, send } = tools;
  const { plans, assumed } = state.plans;
  const total = figure(text("trip.plan.total"));
  const price = figure(text("trip.plan.price"));
  const arrival = figure(text("trip.plan.arrival"));
  const road = figure(text("trip.plan.road"));
  const list = el("ol", { class: "trip-stops", "aria-label": text("trip.plan.course") });
  const parts = el("p", { class: "note trip-parts" });
  const gap = el("p", { class: "note trip-gap" });
  const front = plans.length === 1 ? null
    : makeFront(plans, tools, (index) => send({ is: "choosePlan", index }));
  const go = button("", () => send({ is: "takeStop" }), "primary wide");
  const next = el("div", { class: "trip-next" }, go);
  let drawn = null;
  function update(now) {
    const plan = planned(now);
    if (plan === drawn) return;
    drawn = plan;
    const { stops } = plan;
    total.show(format.minutes(plan.total_minutes), "");
    say(parts, times(plan, { text, format }));
    price.show(stops.length === 0 ? "–" : format.money(plan.price),
      stops.length === 0 ? "" : text("trip.charge.kwh", { kwh: format.kwh(plan.energy_kwh) }));
    arrival.show(format.percent(plan.arrival_percent), "");
    road.show(`${format.km(plan.distance_km)} km`, text("trip.plan.estimated"));
    list.replaceChildren(...course(plan, tools));
    say(gap, plan.gap_minutes > LEAST_GAP
      ? text("trip.plan.gap", { time: format.minutes(plan.gap_minutes) }) : "");
    front?.update(now.plan);
    next.hidden = stops.length === 0;
    if (stops.length > 0) say(go, text("trip.plan.take", { name: stops[0].name_station }));
  }
  update(state);
  return {
    update,
    next,
    top: el("div", { class: "trip-view" },
      el("dl", { class: "trip-figures" }, total.element, price.element, arrival.element, road.element),
      parts, front?.element),
    rest: el("div", { class: "trip-view" }, list, gap,
      el("p", { class: "trip-assumed" }, words.trip(assumed)),
      el("p", { class: "note" }, text("trip.plan.promise"))),
  };
}

/** What the time of a plan is made of. */
function times(plan, { text, format }) {
  const parts = [["drive", plan.drive_minutes], ["charge", plan.charge_minutes], ["wait", plan.wait_minutes],
    ["stop", plan.stop_minutes]].filter(([, minutes]) => minutes > 0);
  if (parts.length < 2) return "";
  return parts.map(([key, minutes]) => text(`trip.plan.${key}`, { time: format.minutes(minutes) })).join(" + ");
}

/** The way in order: from the car by each stop to the goal. */
function course({ legs, stops, total_minutes: total }, { text, format, network }) {
  // Charges may be shorter than a per cent of the battery.
  const level = (percent) => `${format.number(percent, 1)}%`;
  const star = ({ id_station: id }) => (network.stations.get(id)?.price_known === false ? "*" : "");
  const after = (minutes) => text("trip.plan.after", { time: format.minutes(minutes) });
  const leg = (index) => text("trip.plan.leg", { km: format.km(legs[index].distance_km),
    time: format.minutes(legs[index].travel_minutes) });
  const end = legs.at(-1);
  return [
    point("car", text("trip.plan.start"), [text("trip.plan.leaves", { percent: format.percent(legs[0].depart_percent) })], leg(0)),
    ...stops.map((stop, index) => point(index + 1, stop.name_station, [
      el("span", { class: "trip-charged" }, text("trip.plan.levels", { from: level(stop.arrive_percent),
        to: level(stop.depart_percent), time: format.minutes(stop.charge_minutes) }), " · ",
      el("span", { class: "trip-piece" }, `${format.money(stop.price)}${star(stop)}`)),
      `${after(stop.arrive_minutes)}${stop.connector === null ? "" : ` · ${stop.connector}`}`,
      stop.wait_minutes > 0 ? text("trip.wait_time", { time: format.minutes(stop.wait_minutes) }) : null,
    ], leg(index + 1))),
    point("goal", text("trip.plan.goal"), [text("trip.plan.arrives", { percent: format.percent(end.arrive_percent) }),
      after(total)], null),
  ];
}

const point = (sign, name, lines, leg) => el("li", { "data-sign": typeof sign === "number" ? "stop" : sign },
  el("span", { class: "trip-stop-sign", "aria-hidden": "true" }, typeof sign === "number" ? String(sign) : null),
  el("div", { class: "trip-stop-body" }, el("strong", {}, name),
    ...lines.filter((line) => line !== null).map((line) => el("span", { class: "trip-stop-line" }, line)),
    leg === null ? null : el("span", { class: "trip-stop-leg" }, leg)));

/** Why there is no plan, and what would make one. */
function noPlan(state, { text, format, send }) {
  const { missing_km: missing, start_percent_needed: start, reserve_percent_possible: possible } = state.plans;
  const from = possible === null ? 0 : Math.floor(possible);
  const why = text("trip.plan.none.leg", { km: format.km(Math.max(missing, LEAST_KM)), reserve: format.percent(state.reserve) });
  const isUnsure = state.plans.assumed.includes("search_time");
  const never = (key) => (isUnsure ? null : text(key));
  const ways = [
    start === null ? never("trip.plan.none.start_never") : text("trip.plan.none.start", { percent: format.percent(Math.ceil(start)) }),
    possible === null ? never("trip.plan.none.reserve_never") : text("trip.plan.none.reserve", { percent: format.percent(from) }),
    isUnsure ? text("trip.plan.none.unsure") : null,
  ].filter((way) => way !== null);
  const lower = possible === null ? null : button(text("trip.plan.none.lower", { percent: format.percent(from) }), () => {
    send({ is: "keep", reserve: from });
    send({ is: "plan" });
  }, "primary wide");
  return {
    said: `${text("trip.plan.none.title")}. ${why}`,
    top: el("div", { class: "trip-view" }, el("p", { class: "trip-message" }, why),
      el("ul", { class: "trip-list" }, ...ways.map((way) => el("li", {}, way)))),
    rest: el("div", { class: "trip-view" }, lower,
      el("p", { class: "note" }, text("trip.plan.considered", { n: format.number(state.plans.stations_considered) }))),
    next: null,
  };
}
