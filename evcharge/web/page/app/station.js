// What is known of a station: in the map's popup, and under its row of the table.

import { el, mark, say, svg } from "./dom.js";
import { format } from "./format.js";
import { look, priceText } from "./ring.js";
import { isOut } from "./state.js";
import { language, text } from "./texts.js";

const ASKED_MS = 1000; // Not more often than that, however fast slots come and go.
const SAID = new Set(["OUTOFORDER", "INOPERATIVE", "PLANNED", "UNKNOWN"]);

/** "CCS2 ou CHAdeMO · 150 kW" */
function groupName({ connectors }) {
  const most = Math.max(...connectors.map(({ power_kw: kw }) => kw));
  const names = [...new Set(connectors.map(({ name }) => name))].join(text("station.or"));
  return `${names} · ${format.kw(most)} kW`;
}

/** What its tariffs say of themselves, in the reader's language. */
function tariffTexts(tariffs) {
  const said = Object.values(tariffs).map(({ tariff_alt_text: all }) => {
    const mine = all?.find((each) => each.language.slice(0, 2) === language) ?? all?.[0];
    return mine?.text;
  });
  return [...new Set(said.filter(Boolean))];
}

/** Why slots are out of service, a line each. */
function reasons(evses) {
  return evses.filter(({ status }) => SAID.has(status)).slice(0, 4).map(({ uid, status, since }) =>
    text(since ? "station.since" : "station.why", {
      uid, status: text(`station.status.${status}`), time: since && format.moment(since),
    }));
}

/**
 * Details of station `id`: `element`, and `update()` when it has changed, `focus()`, `remove()`.
 *
 * What only the station's own START says, such as the slots by connector, is asked for when it is
 * shown and when it changes. `onResize` is called when the element has become larger or smaller.
 */
export function makeDetails(id, { network, wire, onCharge, onClose = null, onShow = null }) {
  let isGone = false;
  let isRemoved = false;
  let askedAt = 0;
  let waiting = 0;
  let known = null;
  const name = el("h3", { tabindex: "-1" });
  const close = onClose && el("button", { type: "button", class: "close", onclick: onClose },
    svg("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: "M3 3l10 10M13 3L3 13" })));
  const address = el("p", { class: "address" });
  const free = el("span", { class: "chip" });
  const power = el("span", { class: "chip" });
  const broken = el("span", { class: "chip" });
  const price = el("p", { class: "price" });
  const queue = el("p", { class: "queue" });
  const why = el("div");
  const groups = el("ul", { class: "groups" });
  const tariff = el("div", { class: "more" });
  const charge = el("button", { type: "button", class: "button primary", onclick: () => onCharge(id) });
  const show = onShow && el("button", { type: "button", class: "button", onclick: onShow });
  const actions = el("div", { class: "actions" }, charge, show);
  const element = el("div", { class: "details" },
    onClose && el("div", { class: "details-head" }, name, close),
    address, el("div", { class: "facts" }, free, power, broken), price, tariff, queue, why, groups, actions);

  function lines(parent, tag, all, attributes = {}) {
    while (parent.children.length > all.length) parent.lastChild.remove();
    while (parent.children.length < all.length) parent.append(el(tag, attributes));
    all.forEach((line, index) => say(parent.children[index], line));
  }

  function writeGroups(all) {
    while (groups.children.length > all.length) groups.lastChild.remove();
    while (groups.children.length < all.length) {
      groups.append(el("li", {}, el("span"), el("span", { class: "count" })));
    }
    all.forEach((group, index) => {
      const [what, count] = groups.children[index].children;
      const usable = group.total - group.out_of_service;
      const said = [usable && text("station.of", { n: group.available, m: usable }),
        group.out_of_service && text("station.out_of", { n: group.out_of_service })];
      say(what, groupName(group));
      say(count, said.filter(Boolean).join(", "));
    });
  }

  async function ask() {
    waiting = 0;
    askedAt = Date.now();
    const reply = await wire.request("START", { stations: [id] }).catch(() => null);
    if (isRemoved || reply?.code !== 200) return;
    known = reply.data;
    write();
  }

  // Groups of the snapshot are of its moment: where slots have come or gone since, they are asked.
  function write() {
    const station = network.stations.get(id);
    if (close) mark(close, "aria-label", text("station.close"));
    if (station === undefined) {
      if (!isGone) {
        isGone = true;
        for (const part of [address, free, power, broken, queue, why, groups, tariff, actions]) part.remove();
      }
      price.className = "";
      say(price, text("station.gone"));
      api.onResize();
      return;
    }
    const out = isOut(station);
    const cost = priceText(station);
    say(name, station.name_station);
    say(address, station.address ?? "");
    mark(free, "data-look", look(station));
    say(free, out ? text("station.out")
      : station.available_slots ? text("station.free", { n: station.available_slots, m: station.max_slots })
        : `${text("station.full")} · ${text("station.free", { n: 0, m: station.max_slots })}`);
    say(power, text("station.power", { kw: format.kw(station.power_kw) }));
    broken.hidden = out || !station.out_of_service;
    say(broken, text("station.some_out", { n: station.out_of_service }));
    price.className = cost === null ? "price is-unknown" : "price";
    say(price, cost === null ? text("noprice") : text("station.kwh", { price: cost }));
    queue.hidden = out;
    say(queue, station.queue_length === 0 ? text("station.nobody")
      : text("station.queue", { n: station.queue_length, next: station.queue_length + 1 }));
    const mine = known?.station_models[id];
    const said = mine ? reasons(mine.evses) : [];
    if (out && !said.length) said.push(text("station.none"));
    lines(why, "p", said, { class: "why" });
    lines(tariff, "p", known ? tariffTexts(known.tariffs) : []);
    writeGroups((mine ?? station).evse_groups ?? []);
    charge.hidden = out;
    say(charge, text("station.charge"));
    if (show) say(show, text("station.here"));
    api.onResize();
  }

  const api = {
    element,
    onResize: () => {},
    update() {
      write();
      if (waiting || !network.stations.has(id)) return;
      waiting = setTimeout(ask, Math.max(0, askedAt + ASKED_MS - Date.now()));
    },
    focus: () => name.focus({ preventScroll: true }),
    remove() {
      isRemoved = true;
      clearTimeout(waiting);
    },
  };
  api.update();
  return api;
}
