// The journey as the page knows it: what each wish, reply and event makes of it. No screen, no
// clock and no connection: whoever holds a state shows it, and asks the server what `asking` says.

/** The states of the server in which a driver has a session, or a place in a line. */
const UNDER_WAY = ["waiting", "offered", "reserved", "charging", "finished"];

/** What a reader who says nothing else has. */
const FORM = { car: null, battery: 40, target: 80 };
const LEAST_CHARGE = 10;
const FULL = 100;
const RESERVE = 10;

/** The steps at which a trip is planned. */
const PLANNING = ["goal", "plan"];

const BINDING = ["PAYMENT", "RESERVE", "ARRIVE", "STOP", "CANCEL"];
const UNBIDDEN = ["reply", "gone", "trouble", "notice", "askStop"];
const OF_USERS = ["pay", "reserve", "join"];

/**
 * The journey's beginning, or what `kept` (`{user_id, receipt_id}`) remembers of one.
 *
 * - `step`: "car", "place", "stations", "confirm", "goal" (where to?), "plan", "resuming", one of the server's states in small
 *   letters, "receipt", or "over" (it has ended, and there is no receipt).
 * - `form`: `{car, battery, target}`, the car's name and per cents; `place`: `{latitude, longitude,
 *   station}`, the id of the station at which the car is, or null; `lastPlace`: of the journey before; `wish`: `{id, km, name}`, a
 *   station that has to be among the options; with `isStop` it is the plan's first stop, `km` by its road.
 * - `goal`: `{latitude, longitude}`, where a trip goes; `reserve`: per cent of the battery that stay in it;
 *   `plans`: what PLAN says; `plan`: which of them is looked at, an index.
 * - `options`: the figures of SELECTION_STATION, the best first; `excluded`, `nearest`: why not others.
 * - `chosen`: an id; `details`: `{station, tariffs}` of it; `full`: `{queue, eta}` where it is full.
 * - `session`: what STATUS says; `receipt`: what RECEIPT says.
 * - `asking`: `{type, data}`, what is being asked, or null; `trouble`: why that takes long.
 * - `notice`: `{key, figures}` or `{said}`, something to tell the reader.
 */
export function begin(kept = {}) {
  const state = {
    step: "car", form: FORM, place: null, lastPlace: null, wish: null, criterion: "distance", userId: null,
    receiptId: null, options: null, excluded: null, nearest: null, chosen: null, details: null,
    goal: null, reserve: RESERVE, plans: null, plan: 0,
    full: null, session: null, receipt: null, asking: null, trouble: null, notice: null,
    isStopping: false,
  };
  if (!kept.user_id && !kept.receipt_id) return state;
  const resumed = { ...state, userId: kept.user_id ?? null, receiptId: kept.receipt_id ?? null };
  return { ...resumed, step: "resuming", asking: kept.user_id ? status(resumed) : receiptOf(resumed) };
}

/** Whether the server has something of this driver that may change by itself. */
export const isUnderWay = (state) => UNDER_WAY.includes(state.step);

/** How far a car goes, km. */
export const rangeOf = (car, battery) => (car.battery_capacity * battery) / 100 / car.energy_consumption;

/** The figures of the chosen station, or null where they were not asked for. */
export const chosenOption = (state) =>
  state.options?.find((option) => option.id_station === state.chosen) ?? null;

/** The plan that is looked at, or null where there is none. */
export const planned = ({ plans, plan: index }) => plans?.plans?.[index] ?? null;

/** What a journey is after `action`, `{is, …}`: a wish of the reader, a reply, or trouble. */
export function advance(state, action) {
  // Who has asked for a slot, or has given one back, waits for the answer.
  if (BINDING.includes(state.asking?.type) && !UNBIDDEN.includes(action.is)) return state;
  // Whom the server does not know any more is logged in anew first.
  if (OF_USERS.includes(action.is) && state.userId === null) return state;
  return ACTIONS[action.is](state, action);
}

const ACTIONS = {
  form(state, { form }) {
    const next = { ...state.form, ...form };
    // A target that is reached already would charge nothing.
    if (next.battery >= next.target) next.target = Math.min(FULL, next.battery + LEAST_CHARGE);
    return forget({ ...state, form: next, notice: null });
  },
  toCar: (state) => ({ ...state, step: "car", asking: null, notice: null }),
  toPlace: (state) => ({ ...state, step: "place", asking: null, notice: null }),
  place(state, { place, wish = null }) {
    return search({ ...state, step: "place", place, wish, plans: null, criterion: "distance", notice: null });
  },
  chargeAt(state, { place, wish }) {
    if (isUnderWay(state) || state.step === "resuming") return state;
    if (state.receipt !== null) state = again(state);
    const known = { ...state, place, wish };
    if (state.step === "car") return { ...known, notice: { key: "trip.wish", figures: wish } };
    return search({ ...known, step: "place", criterion: "distance", notice: null });
  },
  search(state, { criterion = state.criterion }) {
    const step = state.step === "car" ? "place" : state.step;
    return search({ ...state, step, criterion, notice: null });
  },
  toGoal: (state) => ({ ...state, step: "goal", asking: null, notice: null }),
  goal: (state, { goal }) => ({ ...state, step: "goal", goal, plans: null, asking: null, notice: null }),
  keep: (state, { reserve }) => ({ ...state, reserve }),
  plan: (state) => plan({ ...state, step: PLANNING.includes(state.step) ? state.step : "goal", notice: null }),
  choosePlan: (state, { index }) => ({ ...state, plan: index }),
  takeStop(state) {
    const { stops = [], legs } = planned(state) ?? {};
    if (stops.length === 0) return state;
    const [{ id_station: id, name_station: name, depart_percent: depart }] = stops;
    const target = Math.min(FULL, Math.max(state.form.battery + 1, Math.ceil(depart)));
    return look({ ...state, step: "place", criterion: "distance", form: { ...state.form, target },
      wish: { id, name, km: legs[0].distance_km, isStop: true } });
  },
  choose: (state, { id }) => ({ ...state, chosen: id, full: null }),
  toStations: (state) => ({ ...state, step: "stations", asking: null, full: null, notice: null }),
  confirm(state, { id }) {
    const next = { ...state, chosen: id, step: "confirm", details: null, full: null, notice: null };
    return ask(next, "START", { stations: [id] });
  },
  pay: (state) => ask(state, "PAYMENT", { ...atStation(state), confirmation: true }),
  reserve(state) {
    const minutes = Math.min(120, Math.ceil(chosenOption(state)?.travel_minutes ?? 0));
    return ask(state, "RESERVE", { ...atStation(state), arrival_minutes: minutes });
  },
  join(state) {
    const minutes = Math.min(120, Math.ceil(chosenOption(state)?.travel_minutes ?? 0));
    return ask(state, "RESERVE", { ...atStation(state), arrival_minutes: minutes, wait: true });
  },
  accept: (state) => ask(state, "RESERVE", { user_id: state.userId, id_station: state.session.id_station }),
  arrive: (state) => ask(state, "ARRIVE", { user_id: state.userId, id_station: state.session.id_station }),
  payHere: (state) => ask(state, "PAYMENT",
    { user_id: state.userId, id_station: state.session.id_station, confirmation: true }),
  cancel: (state) => ask(state, "CANCEL", { user_id: state.userId }),
  askStop: (state, { open }) => ({ ...state, isStopping: open }),
  stop(state, { leave }) {
    const data = { user_id: state.userId, leave };
    if (state.receiptId !== null) data.receipt_id = state.receiptId;
    return ask({ ...state, isStopping: false }, "STOP", data);
  },
  again,
  gone,
  notice: (state, { key }) => ({ ...state, notice: { key } }),
  trouble: (state, { trouble }) => ({ ...state, trouble }),
  reply(state, { asked, code, data }) {
    const isMine = asked === state.asking;
    // What was asked for by the way, and what was given up meanwhile, changes nothing but the status.
    if (!isMine && asked.type !== "STATUS") return state;
    if (asked.data.user_id !== undefined && asked.data.user_id !== state.userId) return state;
    const next = isMine ? { ...state, asking: null, trouble: null } : state;
    if (data.reason === "user_not_found") {
      return asked.type === "PLAN" ? plan({ ...next, userId: null }) : gone(next);
    }
    return REPLIES[asked.type](next, data, code, asked.data);
  },
};

const REPLIES = {
  LOGIN(state, data, code) {
    if (code !== 200) return refused({ ...state, step: "car" }, data);
    const known = { ...state, userId: data.user_id };
    return PLANNING.includes(state.step) ? plan(known) : look(known);
  },
  SELECTION_STATION(state, data, code, asked) {
    if (code !== 200) return refused(state, data);
    const { alternatives, excluded, nearest_out_of_range: nearest = null, ...best } = data;
    const found = best.id_station === null ? [] : [best, ...alternatives];
    const { wish } = state;
    // The second question was for one station alone.
    const isAlone = asked.list_stations !== undefined;
    const others = state.options?.filter((option) => option.id_station !== wish?.id);
    const options = isAlone ? [...others, ...found] : found;
    const next = isAlone ? { ...state, options } : { ...state, options, excluded, nearest };
    const has = (id) => options.some((option) => option.id_station === id);
    // A stop of a plan is told by the plan's road, which is longer than a straight line.
    if (wish !== null && !isAlone && (wish.isStop || (!has(wish.id) && found.length > 0))) {
      return ask(next, "SELECTION_STATION", { user_id: state.userId, ...target(state),
        list_stations: { [wish.id]: { distance_origin_position: wish.km } } });
    }
    const chosen = wish !== null && has(wish.id) ? wish.id : options[0]?.id_station ?? null;
    if (wish?.isStop && chosen === wish.id) return ACTIONS.confirm({ ...next, wish: null }, wish);
    return { ...next, step: "stations", chosen, full: null };
  },
  PLAN(state, data, code) {
    if (code !== 200) return refused(state, data);
    return { ...state, step: "plan", plans: data, plan: 0 };
  },
  START(state, data, code) {
    if (code !== 200) return refused(state, data);
    const station = data.station_models[state.chosen];
    if (station === undefined) return lostStation(state);
    return { ...state, details: { station, tariffs: data.tariffs ?? {} } };
  },
  PAYMENT(state, data, code) {
    if (data.confirmation !== true) return notGiven(state, data, code);
    const session = { ...data, battery_percent: data.start_percent, cost: null, energy_kwh: 0,
      planned_energy_kwh: data.energy_kwh, expires_timestamp: null, paid: data.amount };
    const next = { ...state, session, receiptId: data.receipt_id, step: data.state.toLowerCase() };
    return { ...next, notice: null, full: null, asking: status(next) };
  },
  RESERVE: (state, data, code) => (data.state && code === 200
    ? STANDS(state, data) : notGiven(state, data, code)),
  ARRIVE: (state, data, code) => (data.state && code === 200
    ? STANDS(state, data) : notGiven(state, data, code)),
  STATUS: (state, data, code) => (code === 200 ? STANDS(state, data) : state),
  STOP(state, data, code) {
    if (data.reason === "wrong_state") return { ...state, asking: status(state) };
    if (code !== 200) return refused(state, data);
    return data.final === undefined ? STANDS(state, data) : over(state, data);
  },
  CANCEL(state, data, code) {
    if (data.reason === "wrong_state") return { ...state, asking: status(state) };
    if (code !== 200) return refused(state, data);
    if (data.receipt && data.receipt.total > 0) return over(state, data.receipt);
    return free(state, GIVEN_UP[state.step] ?? "trip.cancelled");
  },
  RECEIPT(state, data, code) {
    if (code === 200) return over(state, data);
    return code === 404 ? over(state, null) : refused(state, data);
  },
  HISTORY: (state, data) => over(state, data.receipts?.[0] ?? null),
};

const GIVEN_UP = { waiting: "trip.left_queue", offered: "trip.declined", reserved: "trip.cancelled" };

/** What stands at the server, by STATUS or by a reply that has the same fields. */
function STANDS(state, data) {
  if (data.state === "FREE") return becameFree(state);
  const step = data.state.toLowerCase();
  const next = { ...state, step, session: { ...data, paid: state.session?.paid ?? null }, full: null };
  next.receiptId = data.receipt_id ?? null;
  if (step === state.step) return next;
  const fell = step === "waiting" && ["offered", "reserved"].includes(state.step);
  return { ...next, isStopping: false, notice: fell ? { key: "trip.fell" } : null };
}

function becameFree(state) {
  if (state.step === "offered") return free(state, "trip.offer_over");
  if (state.step === "waiting") return free(state, "trip.left_queue");
  if (state.step === "resuming") return begin();
  // A reservation that ran out, or that an operator has ended: its receipt says so.
  return isUnderWay(state) ? { ...state, asking: receiptOf(state) } : state;
}

/** Look for a station once more, where it is still known where the car is. */
function free(state, key) {
  const next = { ...state, step: "place", session: null, receiptId: null, isStopping: false,
    notice: { key } };
  if (state.form.car === null || state.place === null) {
    return { ...next, userId: null, step: "car", form: state.form };
  }
  return search(next);
}

/** The server does not know the driver (any more). */
function gone(state) {
  if (isUnderWay(state) || state.step === "resuming") {
    if (["RECEIPT", "HISTORY"].includes(state.asking?.type)) return state;
    return { ...state, isStopping: false, asking: receiptOf(state) };
  }
  const next = { ...state, userId: null, details: null };
  if (["place", "stations", "confirm"].includes(state.step) && state.place !== null) return search(next);
  return next;
}

/** The journey has ended; with a receipt, or without one. */
function over(state, receipt) {
  const next = { ...state, userId: null, receiptId: null, asking: null, isStopping: false };
  return { ...next, receipt, step: receipt === null ? "over" : "receipt", notice: null };
}

/** Another journey of the same car, as the one before has left it. */
function again(state) {
  const left = state.receipt?.end_percent ?? state.form.battery;
  const fresh = begin();
  const form = { ...state.form, battery: Math.round(left) };
  const { goal, reserve } = state;
  return ACTIONS.form({ ...fresh, goal, reserve, lastPlace: state.place ?? state.lastPlace, form: { ...form, target: FORM.target } },
    { form: {} });
}

/** PAYMENT, RESERVE or ARRIVE gave nothing. */
function notGiven(state, data, code) {
  if (data.reason === "no_slot") {
    const full = { queue: data.queue_length, eta: data.eta_minutes };
    return state.step === "confirm" ? { ...state, full } : { ...refused(state, data), full };
  }
  if (["already_reserved", "wrong_state"].includes(data.reason)) {
    return { ...state, asking: status(state) };
  }
  if (data.reason === "station_not_found") return lostStation(state);
  return code === 200 ? state : refused(state, data);
}

const lostStation = (state) => search({ ...state, wish: null, notice: { key: "trip.station_gone" } });

const refused = (state, data) => ({ ...state, notice: { said: data.message } });

/** Look for stations; a full battery takes nothing, but may be the beginning of a trip. */
function search(state) {
  if (state.form.battery < FULL || state.place === null) return look(state);
  return { ...state, step: "goal", asking: null };
}

/** Look for stations; before that, log in. */
function look(state) {
  if (state.place === null || state.form.car === null) return { ...state, step: "car" };
  if (state.userId === null) return login(state);
  const { latitude, longitude } = state.place;
  return ask({ ...state, details: null, full: null }, "SELECTION_STATION", { user_id: state.userId,
    ...target(state), position: { latitude, longitude }, criterion: state.criterion });
}

/** Look for the plans of a trip; before that, log in. */
function plan(state) {
  const { place, goal } = state;
  if (place === null || state.form.car === null) return { ...state, step: "car" };
  if (goal === null) return { ...state, step: "goal", asking: null };
  if (state.userId === null) return login(state);
  const places = [place, goal].map(({ latitude, longitude }) => ({ latitude, longitude }));
  return ask(state, "PLAN", { user_id: state.userId, battery_percent: state.form.battery, places,
    reserve_percent: state.reserve, criterion: "front" });
}

const login = (state) => ask(state, "LOGIN", { user_name: "evcharge", selected_car: state.form.car,
  battery_car: state.form.battery, target_percent: state.form.target });

/** Another car is another user: what was found for the one before does not hold. */
const forget = (state) => ({ ...state, userId: null, options: null, chosen: null, plans: null });

const ask = (state, type, data) => ({ ...state, asking: { type, data } });

const target = (state) => ({ target_percent: state.form.target });

function atStation(state) {
  const arrival = chosenOption(state)?.arrival_percent ?? state.form.battery;
  return { user_id: state.userId, id_station: state.chosen, arrival_percent: arrival, ...target(state) };
}

/** The question how it stands. */
export const status = (state) => ({ type: "STATUS", data: { user_id: state.userId } });

// Without a receipt's id, as where PAYMENT's reply was lost, the driver's newest one.
const receiptOf = (state) => (state.receiptId !== null
  ? { type: "RECEIPT", data: { receipt_id: state.receiptId } }
  : { type: "HISTORY", data: { driver_id: state.userId, limit: 1 } });
