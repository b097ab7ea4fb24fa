// My journey once the server has something of it: a place in a line, an offer, a reservation, a charge.

import { el, mark, say } from "./dom.js";
import { button, facts, figure, heading } from "./trip-parts.js";

/** In a line: which position, and when the turn is. */
export function waitingView(state, { text, format, send }) {
  const title = heading(text("trip.waiting.title"));
  const position = el("p", { class: "trip-big" });
  const eta = el("p", {});
  const between = el("p", { class: "note" });
  function update({ session }) {
    say(position, text("trip.waiting", { n: session.position, m: session.queue_length }));
    const isKnown = session.eta_minutes !== null;
    say(eta, isKnown ? text("trip.waiting.eta", { time: format.minutes(session.eta_minutes) }) : text("trip.waiting.unknown"));
    const least = format.minutes(session.eta_earliest_minutes);
    const most = format.minutes(session.eta_latest_minutes);
    say(between, isKnown && least !== most ? text("trip.waiting.between", { least, most }) : "");
  }
  update(state);
  return { title, update, element: el("div", { class: "trip-view" }, title,
    el("p", { class: "trip-name" }, state.session.name_station), position, el("div", {}, eta, between),
    el("p", { class: "note" }, text("trip.waiting.note")),
    button(text("trip.leave_queue"), () => send({ is: "cancel" }))) };
}

/** A slot that came free, and until when it may be had. */
export function offeredView(state, { text, words, send, now, nameOf }) {
  const { session } = state;
  const title = heading(text("trip.offered.title"));
  const until = deadline("trip.offered.until", { text, words, now });
  const pay = words.amount(session);
  return { title, tick: until.tick, update: until.update,
    element: el("div", { class: "trip-view is-urgent" }, title,
      where(session, { text, nameOf }), el("p", {}, text("trip.offered")),
      until.begin(session),
      button(text("trip.accept"), () => send({ is: "accept" }), "primary wide"),
      button(text(pay === null ? "trip.pay.unknown" : "trip.accept.pay", { price: pay }), () => send({ is: "payHere" }), "wide"),
      button(text("trip.decline"), () => send({ is: "cancel" }), "quiet")) };
}

/** A slot that is kept for a driver on the way. */
export function reservedView(state, { text, words, send, now, nameOf }) {
  const { session } = state;
  const title = heading(text("trip.reserved.title"));
  const until = deadline("trip.reserved.until", { text, words, now });
  const pay = words.amount(session);
  return { title, tick: until.tick, update: until.update,
    element: el("div", { class: "trip-view" }, title,
      where(session, { text, nameOf }),
      until.begin(session),
      el("p", { class: "note" }, text("trip.reserved.note")),
      button(text("trip.arrive"), () => send({ is: "arrive" }), "primary wide"),
      el("p", { class: "note" }, text("trip.arrive.note")),
      button(text(pay === null ? "trip.pay.unknown" : "trip.arrive.pay", { price: pay }), () => send({ is: "payHere" }), "wide"),
      button(text("trip.cancel"), () => send({ is: "cancel" }), "quiet")) };
}

/** At which station, and at which of its slots. */
const where = ({ id_station: id, id_evse: evse, connector }, { text, nameOf }) => el("div", {},
  el("p", { class: "trip-name" }, nameOf(id)),
  el("p", { class: "note" }, text(connector === null ? "trip.slot_of" : "trip.slot_by", { evse, connector })));

/** A deadline that is counted down. */
function deadline(key, { text, words, now }) {
  let session = null;
  const element = el("p", { class: "trip-deadline" });
  const tick = () => {
    if (session.expires_timestamp === null) return;
    const left = session.expires_timestamp - now();
    say(element, text(key, { time: words.left(left), clock: words.clock(session.expires_timestamp, now()) }));
  };
  const update = (state) => {
    ({ session } = state);
    tick();
  };
  return { tick, update, begin(first) {
    update({ session: first });
    return element;
  } };
}

/** The car charges. */
export function chargingView(state, tools) {
  const { text, format, words, now } = tools;
  const { session } = state;
  const title = heading(text("trip.charging.title"));
  const percent = el("span", { class: "trip-percent" });
  const goal = el("span", { class: "trip-goal" });
  const bar = battery();
  const left = figure(text("trip.left"));
  const energy = figure(text("trip.energy.now"));
  const cost = figure(text("trip.cost"));
  const power = figure(text("trip.power"));
  const stop = stopping(tools);

  function tick() {
    const { session: it } = state;
    const seconds = it.estimated_timestamp - now();
    left.show(words.left(seconds), text("trip.ready", { clock: words.clock(it.estimated_timestamp, now()) }));
  }
  function update(next) {
    state = next;
    const { session: it } = next;
    const level = it.battery_percent ?? it.start_percent;
    say(percent, format.percent(level));
    say(goal, text("trip.bar.target", { to: format.percent(it.target_percent) }));
    bar.show(level, it.target_percent, text("trip.bar", {
      now: format.percent(level), to: format.percent(it.target_percent) }));
    energy.show(`${format.number(it.energy_kwh ?? 0, 1)} kWh`, it.planned_energy_kwh === null ? ""
      : text("trip.energy.of", { kwh: format.number(it.planned_energy_kwh, 1) }));
    const paid = it.paid ?? null;
    cost.show(it.cost === null ? "…" : format.money(it.cost), paid !== null
      ? text("trip.cost.paid", { price: format.money(paid) })
      : it.amount === null ? "" : text("trip.cost.of", { price: format.money(it.amount) }));
    power.show(it.power_kw === null ? "–" : `${format.kw(it.power_kw)} kW`, "");
    stop.update(next);
    tick();
  }
  update(state);
  return { title, tick, update,
    element: el("div", { class: "trip-view" }, title,
      where(session, tools),
      el("p", { class: "trip-level" }, percent, goal), bar.element,
      el("dl", { class: "trip-figures" }, left.element, energy.element, cost.element, power.element),
      stop.element) };
}

/** The battery as a bar, with a mark where the target is. */
function battery() {
  const filled = el("span", { class: "trip-bar-filled" });
  const target = el("span", { class: "trip-bar-target" });
  const element = el("div", { class: "trip-bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100 }, filled, target);
  return {
    element,
    show(percent, to, said) {
      filled.style.setProperty("width", `${percent}%`);
      target.style.setProperty("left", `${to}%`);
      mark(element, "aria-valuenow", Math.round(percent));
      mark(element, "aria-label", said);
    },
  };
}

/** To stop is asked twice: it cannot be taken back. */
function stopping({ text, format, send }) {
  const ask = button(text("trip.stop"), () => send({ is: "askStop", open: true }), "wide");
  const note = el("p", { class: "note" });
  const leave = button(text("trip.stop.leave"), () => send({ is: "stop", leave: true }), "primary");
  const choice = el("div", { class: "trip-stop", role: "group", "aria-label": text("trip.stop.ask") },
    el("p", {}, el("strong", {}, text("trip.stop.ask"))), note,
    el("div", { class: "trip-row" }, leave,
      button(text("trip.stop.stay"), () => send({ is: "stop", leave: false })),
      button(text("trip.stop.go_on"), () => send({ is: "askStop", open: false }), "quiet")));
  choice.addEventListener("keydown", (event) => {
    if (event.key === "Escape") send({ is: "askStop", open: false });
  });
  let isOpen = null;
  return {
    element: el("div", {}, ask, choice),
    update({ session, isStopping }) {
      say(note, session.cost === null ? "" : text("trip.stop.note", { price: format.money(session.cost) }));
      if (isOpen === isStopping) return;
      const wasOpen = isOpen;
      isOpen = isStopping;
      ask.hidden = isOpen;
      choice.hidden = !isOpen;
      if (isOpen) leave.focus();
      else if (wasOpen) ask.focus();
    },
  };
}

/** Charged, and still at the slot. */
export function finishedView(state, { text, format, words, send, now, nameOf }) {
  const { session } = state;
  const title = heading(text("trip.finished.title"));
  const until = deadline("trip.finished.until", { text, words, now });
  return { title, tick: until.tick, update: until.update,
    element: el("div", { class: "trip-view" }, title,
      where(session, { text, nameOf }),
      facts([
        [text("trip.receipt.battery"), format.percent(session.battery_percent ?? session.target_percent)],
        [text("trip.receipt.energy"), text("trip.receipt.kwh", { kwh: format.number(session.energy_kwh, 1) })],
        [text("trip.cost"), session.cost === null ? null : format.money(session.cost)],
      ]),
      until.begin(session),
      el("p", { class: "note" }, text("trip.finished.note")),
      button(text("trip.leave"), () => send({ is: "stop", leave: true }), "primary wide")) };
}
