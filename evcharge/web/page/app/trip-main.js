// "My journey", taken: holds the journey, asks the server what it wants to know, and shows what it is.

import { el, mark, patiently, say } from "./dom.js";
import { carView, placeView } from "./trip-before.js";
import { chargingView, finishedView, offeredView, reservedView, waitingView } from "./trip-charge.js";
import { advance, begin, isUnderWay, planned, rangeOf, status } from "./trip-journey.js";
import { heading, steady } from "./trip-parts.js";
import { overView, receiptView, resumingView } from "./trip-receipt.js";
import { confirmView, stationsView } from "./trip-stations.js";
import { makeWords } from "./trip-words.js";

const VIEWS = {
  car: carView, place: placeView, stations: stationsView, confirm: confirmView, waiting: waitingView,
  offered: offeredView, reserved: reservedView, charging: chargingView, finished: finishedView,
  receipt: receiptView, over: overView, resuming: resumingView,
};
/** Steps whose views are loaded when one plans a trip. */
const PLANNED = ["goal", "plan"];
const STEPS = ["car", "place", "station", "charge", "receipt"];
const STEP_OF = {
  car: 0, place: 1, stations: 2, confirm: 2, goal: 2, plan: 2, waiting: 2, offered: 2, reserved: 3, charging: 3,
  finished: 3, receipt: 4, over: 4, resuming: 3,
};
const STATUS_MS = 5000;
const TICK_MS = 1000;
const DUE_S = 0.3; // What falls due is there a moment later.
const BUSY_MS = 2000;
const UNAVAILABLE_MS = 5000;
const SAID_EACH = 10; // per cent of the battery
const QUIETLY = ["form", "choose", "choosePlan", "goal", "keep", "askStop"];
const KEPT = { userId: "user_id", receiptId: "receipt_id" };

/** What this tab remembers of a journey; nothing where the browser forbids it. */
const kept = {
  read() {
    try {
      return Object.fromEntries(Object.values(KEPT).map((key) => [key, sessionStorage.getItem(key)]));
    } catch {
      return {};
    }
  },
  write(state) {
    try {
      for (const [name, key] of Object.entries(KEPT)) {
        if (state[name] === null) sessionStorage.removeItem(key);
        else sessionStorage.setItem(key, state[name]);
      }
    } catch {
      // Then a reload ends the journey in the page; the server goes on.
    }
  },
};

// The texts of the language that the page speaks, by key.
let texts = {};

/** Load what the trip says in the page's language. */
export async function loadTexts() {
  texts = document.documentElement.lang === "en" ? (await import("./trip-en.js")).EN : (await import("./trip-pt.js")).PT;
}

/** The text of a key, with what it has in braces replaced. */
const text = (key, figures = {}) =>
  (texts[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => figures[name] ?? all);

/**
 * Show a journey in `root`.
 *
 * Gives `focus()`, and `chargeAt(id)`, to begin one of a car that is at this station.
 */
export function startTrip(root, { wire, state: network, map, format, onLanguage, settings = {} }) {
  let state = begin(kept.read());
  let cars = new Map();
  let link = { state: "connecting" };
  let view = { title: null, element: null };
  let shown = null; // of which the view is
  let isAwaited = false; // whether the reader has done something whose outcome is to come
  let asked = null; // the question that is on its way
  let ahead = 0; // ms that the server's clock is ahead
  let polledAt = 0;
  let followed = null;
  let retry = 0;
  let saidPercent = null;
  let route = null; // of a trip that is planned, on the map
  const names = new Map(); // of stations that the map has not, as it shows a part of the network

  const steps = el("ol", { class: "trip-steps" });
  const voice = el("p", { class: "visually-hidden", role: "status", id: "trip-status" });
  const notice = el("p", { class: "trip-notice", hidden: true });
  const fast = el("p", { class: "note trip-fast", hidden: true });
  const body = el("div", { class: "trip-body" });
  const card = root.closest("section") ?? root;
  root.append(steps, voice, notice, body, fast);

  const words = makeWords(text, format);
  const nameOf = (id) => network.stations.get(id)?.name_station ?? names.get(id)
    ?? (state.session?.id_station === id ? state.session.name_station : null) ?? id;
  const tools = {
    text, format, words, map, network, nameOf, get cars() {
      return cars;
    },
    now: () => (Date.now() + ahead) / 1000,
    send(action) {
      isAwaited = !QUIETLY.includes(action.is);
      change(action);
    },
  };

  function change(action) {
    const before = state;
    state = advance(state, action);
    if (state === before) return;
    kept.write(state);
    const user = isUnderWay(state) ? state.userId : null;
    if (user !== followed) {
      followed = user;
      wire.follow(user);
      polledAt = Date.now();
    }
    show(before);
    pursue();
    if (state.options !== before.options && state.options !== null) learnNames();
  }

  // What is asked

  function pursue() {
    const mine = state.asking;
    if (mine === null || mine === asked || link.state !== "live") return;
    asked = mine;
    wire.request(mine.type, mine.data).then(({ data, code }) => {
      if (asked === mine) asked = null;
      if (code === 429 || code === 503) wait(code, mine.type);
      else heard(mine, code, data);
    }, () => {
      // The connection was lost; the question is asked again once it is back.
      if (asked === mine) asked = null;
      later(BUSY_MS);
    });
  }

  function wait(code, type) {
    const trouble = type === "PLAN" ? "no_planner" : "unavailable";
    change({ is: "trouble", trouble: code === 429 ? "busy" : trouble });
    later(code === 429 ? BUSY_MS : UNAVAILABLE_MS);
  }

  function later(ms) {
    clearTimeout(retry);
    retry = setTimeout(pursue, ms);
  }

  function heard(question, code, data) {
    if (data.server_timestamp) ahead = data.server_timestamp * 1000 - Date.now();
    change({ is: "reply", asked: question, code, data });
  }

  function poll() {
    polledAt = Date.now();
    const question = status(state);
    wire.request(question.type, question.data).then(({ data, code }) => {
      if (code === 200 || code === 404) heard(question, code, data);
    }, () => {});
  }

  setInterval(() => {
    if (!isUnderWay(state)) return;
    view.tick?.();
    if (link.state !== "live" || state.asking !== null) return;
    const { session } = state;
    const due = state.step === "charging" ? session.estimated_timestamp : session.expires_timestamp;
    const isDue = typeof due === "number" && tools.now() > due + DUE_S;
    if (isDue || Date.now() - polledAt >= STATUS_MS) poll();
  }, TICK_MS);

  wire.onEvent((data) => {
    if (data.user === undefined || !isUnderWay(state)) return;
    const { user } = data;
    if (user === null || user.reason === "user_not_found") change({ is: "gone" });
    else heard({ type: "STATUS", data: { user_id: user.user_id } }, 200, user);
  });

  wire.onLink((now) => {
    const was = link;
    link = now;
    if (now.state === was.state) return;
    showNotice();
    if (now.state !== "live") return;
    if (cars.size === 0) learnCars();
    // What was on its way when the connection broke is asked again by the connection itself.
    pursue();
    if (isUnderWay(state)) poll();
  });

  async function learnCars() {
    const reply = await wire.request("START", { limit: 1 }).catch(() => null);
    if (reply === null || reply.code !== 200) {
      setTimeout(() => cars.size === 0 && link.state === "live" && learnCars(), BUSY_MS);
      return;
    }
    cars = new Map(Object.entries(reply.data.car_models));
    show(state, true);
  }

  /** Learn the names of stations that are suggested, and are not on the map. */
  async function learnNames() {
    const { options } = state;
    const missing = options.map((option) => option.id_station).filter((id) => nameOf(id) === id);
    if (missing.length === 0) return;
    const reply = await wire.request("START", { stations: missing }).catch(() => null);
    for (const [id, station] of Object.entries(reply?.data.station_models ?? {})) names.set(id, station.name_station);
    if (state.options === options) show(state, true);
  }

  // What is shown

  /** What has to be other for a view to be made anew, and not only brought up to date. */
  const face = (it) => [it.step, it.options, it.details, it.full, it.step === "plan" && it.plans, it.step === "place" && it.asking !== null,
    it.receipt, it.session?.id_evse, it.session?.id_station];

  function show(before, isForced = false) {
    const faceNow = face(state);
    const isNew = isForced || shown === null || faceNow.some((part, index) => part !== shown[index]);
    if (isNew) replace(faceNow);
    else view.update?.(state);
    showNotice();
    showSteps();
    showMap(before);
    mark(body, "aria-busy", state.asking === null ? null : "true");
    sayProgress();
  }

  function replace(faceNow) {
    const isOther = shown !== null && shown[0] !== faceNow[0];
    const { activeElement } = document;
    const hadFocus = body.contains(activeElement);
    const focusId = hadFocus ? activeElement.id : "";
    view.end?.();
    shown = faceNow;
    view = (VIEWS[state.step] ?? loadingView)(state, tools);
    body.replaceChildren(view.element);
    body.dataset.step = state.step;
    const again = focusId ? document.getElementById(focusId) : null;
    if (!isOther && again !== null) again.focus({ preventScroll: true });
    else if (hadFocus || (isOther && isAwaited)) focus();
    // What comes by itself is said; what the reader has asked for has the focus.
    if (isOther) announce(isAwaited ? "" : view.title.textContent);
    if (state.step === "stations" && state.options.length > 0) announceSuggestion();
    if (!isOther && view.said) announce(view.said);
    if (state.asking === null) isAwaited = false;
  }

  function loadingView() {
    loadPlan();
    const title = heading(text("trip.goal.title"));
    return { title, element: el("div", { class: "trip-view" }, title, ...steady(4)) };
  }

  /** Load what plans a trip, and show it. */
  async function loadPlan() {
    try {
      const [{ goalView, planView }, { Route }] = await patiently(
        () => Promise.all([import("./trip-plan.js"), import("./trip-route.js")]));
      Object.assign(VIEWS, { goal: goalView, plan: planView });
      route ??= map.addLayer(Route);
      show(state, true);
    } catch (failure) {
      if (!(failure instanceof TypeError)) throw failure;
      if (PLANNED.includes(state.step)) change({ is: "toCar" });
      change({ is: "notice", key: "trip.goal.not_loaded" });
    }
  }

  /** Go to the view's title, and have as much of the view seen as there is room for. */
  function focus() {
    view.title.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
  }

  const announce = (said) => say(voice, said);

  function announceSuggestion() {
    const [best] = state.options;
    announce(text("trip.suggested", { name: nameOf(best.id_station), km: format.km(best.distance_km),
      min: format.number(best.charge_minutes), price: words.price(best) }));
  }

  function showNotice() {
    const said = troubleText() ?? noticeText();
    notice.hidden = said === null;
    mark(notice, "data-kind", troubleText() === null ? "said" : "trouble");
    if (said !== null && notice.textContent !== said) announce(said);
    say(notice, said ?? "");
  }

  function troubleText() {
    const isLost = !["live", "connecting"].includes(link.state);
    if (isLost && state.step === "charging") return text("trip.lost.charging");
    if (isLost && isUnderWay(state)) return text("trip.lost.kept");
    if (isLost && state.asking !== null) return text("trip.lost");
    return state.trouble === null ? null : text(`trip.${state.trouble}`);
  }

  function noticeText() {
    if (state.notice === null) return null;
    return state.notice.said ?? text(state.notice.key, state.notice.figures);
  }

  function showSteps() {
    const now = STEP_OF[state.step];
    if (steps.childElementCount === 0) {
      steps.append(...STEPS.map(() => el("li", {}, el("span", { class: "trip-dot", "aria-hidden": "true" }),
        el("span", { class: "trip-step-name" }), el("span", { class: "visually-hidden" }))));
    }
    mark(steps, "aria-label", text("trip.steps"));
    STEPS.forEach((name, index) => {
      const item = steps.children[index];
      const isDone = index < now;
      mark(item, "aria-current", index === now ? "step" : null);
      item.classList.toggle("is-done", isDone);
      say(item.children[1], text(`trip.step.${name}`));
      say(item.children[2], isDone ? `, ${text("trip.step.done")}` : "");
    });
    const scale = settings.time_scale ?? 1;
    fast.hidden = !(scale > 1) || now < 2;
    say(fast, text("trip.fast", { n: format.number(scale) }));
  }

  let drawn = {};
  function showMap(before) {
    const car = cars.get(state.form.car);
    const isChosen = ["stations", "confirm"].includes(state.step);
    const next = {
      place: state.step === "car" || state.step === "receipt" || state.step === "over" ? null : state.place,
      km: car === undefined || isUnderWay(state) ? null : rangeOf(car, state.form.battery),
      station: isUnderWay(state) ? state.session.id_station : isChosen ? state.chosen : null,
    };
    if (next.place !== drawn.place) map.car(next.place);
    if (next.place !== null && (next.place !== drawn.place || next.km !== drawn.km)) map.range(next.km);
    if (next.station !== drawn.station) map.highlight(next.station);
    if (next.station !== null && (next.station !== drawn.station || state.options !== before.options)) {
      map.showBoth(state.place, next.station);
    }
    drawn = next;
    showRoute();
  }

  let course = null; // what the route is drawn of
  function showRoute() {
    if (route === null) return;
    const { step, place, goal } = state;
    const plan = step === "plan" ? planned(state) : null;
    const next = PLANNED.includes(step) && place !== null ? { step, place, goal, plan } : null;
    if (next === course || (next !== null && course !== null && Object.keys(next).every((key) => next[key] === course[key]))) return;
    const isOther = course?.step !== step;
    course = next;
    route.show(next && { place, goal, stops: plan?.stops ?? null });
    // Who has clicked on the map has it as it is, until there is a plan.
    if (next !== null && (step === "plan" || isOther || route.isBeyond)) route.see(drawn.km);
  }

  /** A charge is told now and then to who does not see the bar. */
  function sayProgress() {
    if (state.step !== "charging") {
      saidPercent = null;
      return;
    }
    const { battery_percent: percent, estimated_timestamp: end } = state.session;
    const step = Math.floor((percent ?? 0) / SAID_EACH);
    if (saidPercent !== null && step > saidPercent) {
      announce(text("trip.said.charging", { now: format.percent(percent), left: words.left(end - tools.now()) }));
    }
    saidPercent = step;
  }

  onLanguage(async () => {
    await patiently(loadTexts).catch(() => {});
    isAwaited = false;
    show(state, true);
  });
  network.onChange(({ whole }) => {
    // The list of stations at which a car may be.
    if (whole && state.step === "place" && state.asking === null && !body.contains(document.activeElement)) show(state, true);
  });
  show(state, true);

  return {
    focus,
    chargeAt(id) {
      const station = network.stations.get(id);
      if (station === undefined) return;
      const place = { latitude: station.latitude, longitude: station.longitude, station: id };
      tools.send({ is: "chargeAt", place, wish: { id, km: 0, name: station.name_station } });
      focus();
    },
  };
}
