// The end of my trip: what it came to, line by line.

import { el } from "./dom.js";
import { button, facts, heading, steady } from "./trip-parts.js";

/** A receipt whose total, lines and payments explain themselves. */
export function receiptView(state, { text, format, words, send }) {
  const { receipt } = state;
  const title = heading(text("trip.receipt.title"));
  const { start_percent: from, end_percent: to, average_power_kw: power } = receipt;
  const kwh = format.number(receipt.energy_kwh, 2);
  const isCharged = receipt.started !== null;
  return { title, element: el("div", { class: "trip-view trip-receipt" }, title,
    el("p", { class: "trip-total" }, el("span", {}, text("trip.receipt.total")), el("strong", {}, format.money(receipt.total))),
    el("p", {}, text(`trip.receipt.why.${receipt.end_reason}`)),
    facts([
      [text("trip.receipt.where"), [receipt.name_station,
        [receipt.id_evse, receipt.connector].filter(Boolean).join(", ")].filter(Boolean)],
      [text("trip.receipt.when"), when(receipt, format)],
      [text("trip.receipt.battery"), !isCharged || from === null ? null
        : text("trip.receipt.from_to", { from: format.percent(from), to: format.percent(to) })],
      [text("trip.receipt.energy"), !isCharged ? null : power === null ? text("trip.receipt.kwh", { kwh })
        : text("trip.receipt.average", { kwh, kw: format.kw(power) })],
      [text("trip.receipt.time"), words.times(receipt)],
    ]),
    bill(receipt, { text, format, words }),
    el("p", { class: "note trip-id" }, `${text("trip.receipt.id")}: `, el("code", {}, receipt.receipt_id)),
    button(text("trip.again"), () => send({ is: "again" }), "primary wide")) };
}

function when({ reserved_from: reserved, started, ended }, format) {
  const from = started ?? reserved;
  if (from === null) return null;
  if (ended === null) return format.moment(from);
  const isSameDay = format.moment(from).slice(0, 10) === format.moment(ended).slice(0, 10);
  return `${format.moment(from)} – ${isSameDay ? format.hour(ended) : format.moment(ended)}`;
}

function bill(receipt, { text, format, words }) {
  const lines = words.lines(receipt);
  const sums = [];
  const sum = (key, value, kind = "") => sums.push(el("tr", { class: kind },
    el("th", { scope: "row", colspan: "2" }, text(key)), el("td", {}, format.money(value))));
  const tax = receipt.total - receipt.total_excl_vat;
  sum("trip.receipt.total", receipt.total, "trip-bill-total");
  if (tax >= 0.01) sum("trip.receipt.taxes", tax);
  const { paid, total } = receipt;
  if (paid > 0) sum("trip.receipt.paid", paid);
  if (paid - total >= 0.01) sum("trip.receipt.back", paid - total);
  else if (total - paid >= 0.01) sum("trip.receipt.due", total - paid);
  const shown = lines.reduce((all, line, index) => all + Math.round(receipt.lines[index].incl_vat * 100), 0);
  const isRounded = lines.length > 0 && shown !== Math.round(total * 100);
  return el("div", {}, el("table", { class: "trip-bill" },
    el("caption", {}, text("trip.receipt.lines")),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, text("trip.receipt.item")),
      el("th", { scope: "col" }, text("trip.receipt.quantity")), el("th", { scope: "col" }, text("trip.receipt.amount")))),
    el("tbody", {}, ...lines.map((line) => el("tr", {}, el("th", { scope: "row" }, line.item),
      el("td", {}, line.quantity), el("td", {}, line.amount))),
    lines.length === 0 ? el("tr", {}, el("td", { colspan: "3" }, text("trip.receipt.none"))) : null),
    el("tfoot", {}, ...sums)),
  isRounded ? el("p", { class: "note" }, text("trip.receipt.rounding")) : null);
}

/** A journey of which nothing is known any more. */
export function overView(state, { text, send }) {
  const title = heading(text("trip.over.title"));
  return { title, element: el("div", { class: "trip-view" }, title, el("p", {}, text("trip.over")),
    button(text("trip.again"), () => send({ is: "again" }), "primary wide")) };
}

/** The page was loaded anew, and asks how the journey stands. */
export function resumingView(state, { text }) {
  const title = heading(text("trip.resuming.title"));
  return { title, element: el("div", { class: "trip-view" }, title,
    el("p", { class: "note" }, text("trip.resuming")), ...steady(3)) };
}
