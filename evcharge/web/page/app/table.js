// The table of stations: all that the map says, for reading, searching, sorting, and the keyboard.

import { el, mark, say, svg } from "./dom.js";
import { format } from "./format.js";
import { look, priceText } from "./ring.js";
import { isOut } from "./state.js";
import { makeDetails } from "./station.js";
import { onLanguage, text, translate } from "./texts.js";

const PAGE = 50; // Rows at first, and so many more each time.
const SORTED_MS = 1500; // Rows do not change places more often, however fast slots come and go.

const knownPrice = (station) => (station.price_known ? station.price_kwh : null);
const COLUMNS = {
  name: { value: (station) => station.name_station, first: 1 },
  free: { value: (station) => (isOut(station) ? -1 : station.available_slots), first: -1, isLive: true },
  queue: { value: (station) => station.queue_length, first: -1, isLive: true },
  power: { value: (station) => station.power_kw, first: -1 },
  price: { value: knownPrice, first: 1 },
};

/** Text as it is searched: without accents and capitals. */
const plain = (value) => value.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/** Show the table in `root`. */
export function mountTable(root, { network, map, wire, onCharge }) {
  let sort = { by: "name", direction: 1 };
  let most = PAGE;
  let order = [];
  let opened = null;
  let sortCall = 0;
  const rows = new Map();

  const search = el("input", { type: "search", class: "search", autocomplete: "off", spellcheck: "false" });
  const freeOnly = el("input", { type: "checkbox", id: "free-only" });
  const found = el("p", { class: "note found" });
  const heads = Object.fromEntries(Object.keys(COLUMNS).map((by) => [by, el("th", { scope: "col", class: by },
    el("button", { type: "button", onclick: () => sortBy(by) }, el("span", { "data-text": `table.${by}` }),
      svg("svg", { viewBox: "0 0 8 12", "aria-hidden": "true" },
        svg("path", { class: "up", d: "M4 1L7 5H1z" }), svg("path", { class: "down", d: "M4 11L1 7h6z" }))))]));
  const body = el("tbody");
  const table = el("table", { class: "stations" },
    el("caption", { class: "visually-hidden", "data-text": "table.caption" }),
    el("thead", {}, el("tr", {}, ...Object.values(heads))), body);
  const more = el("button", { type: "button", class: "button more", hidden: true, onclick: showMore });
  const empty = el("div", { class: "empty", hidden: true });
  root.append(
    el("div", { class: "tools" }, search,
      el("label", { class: "check" }, freeOnly, el("span", { "data-text": "table.free_only" }))),
    found, table, empty, more);

  function makeRow(id) {
    const name = el("button", { type: "button", class: "name", "aria-expanded": "false", onclick: () => toggle(id) });
    const cells = Object.fromEntries(["free", "queue", "power", "price"].map((by) => [by, el("td", { class: by })]));
    const row = el("tr", { "data-id": id }, el("th", { scope: "row" }, name), ...Object.values(cells));
    return { row, name, cells, details: null };
  }

  function write(id) {
    const station = network.stations.get(id);
    const made = rows.get(id);
    if (station === undefined || made === undefined) return;
    const { row, name, cells } = made;
    const out = isOut(station);
    const price = priceText(station);
    mark(row, "data-look", look(station));
    say(name, station.name_station);
    say(cells.free, out ? text("table.out") : `${station.available_slots}/${station.max_slots}`);
    say(cells.queue, String(station.queue_length));
    say(cells.power, format.kw(station.power_kw));
    say(cells.price, price === null ? text("table.unknown") : format.number(station.price_kwh, 2));
    cells.price.classList.toggle("is-unknown", price === null);
  }

  function wanted() {
    const words = plain(search.value).split(/\s+/).filter(Boolean);
    const { value, first } = COLUMNS[sort.by];
    const byName = (one, other) => format.compare(one.name_station, other.name_station);
    return [...network.stations.values()].filter((station) => {
      if (freeOnly.checked && !(station.available_slots > 0)) return false;
      if (!words.length) return true;
      const said = plain(`${station.name_station} ${station.address ?? ""}`);
      return words.every((word) => said.includes(word));
    }).sort((one, other) => {
      if (sort.by === "name") return sort.direction * byName(one, other);
      const [a, b] = [value(one), value(other)];
      // Who has no price stands last, whichever way.
      if (a === null || b === null) return a === b ? byName(one, other) : a === null ? 1 : -1;
      return sort.direction * (a - b) || byName(one, other) || first;
    }).map(({ id }) => id);
  }

  /** Which rows there are, in which order; those that stand right are not touched. */
  function arrange() {
    clearTimeout(sortCall);
    sortCall = 0;
    order = wanted();
    const shown = order.slice(0, most);
    const kept = new Set(shown);
    for (const [id, { row, details }] of rows) {
      if (kept.has(id)) continue;
      if (opened === id) shut();
      row.remove();
      details?.holder.remove();
      rows.delete(id);
    }
    let at = body.firstElementChild;
    for (const id of shown) {
      if (!rows.has(id)) {
        rows.set(id, makeRow(id));
        write(id);
      }
      const { row, details } = rows.get(id);
      if (at === row) at = at.nextElementSibling;
      else body.insertBefore(row, at);
      if (details === null) continue;
      if (at === details.holder) at = at.nextElementSibling;
      else body.insertBefore(details.holder, at);
    }
    writeAround();
  }

  function writeAround() {
    const all = network.stations.size;
    const n = format.number(order.length);
    say(found, all === 0 ? "" : order.length === all
      ? text(all === 1 ? "table.count.one" : "table.count", { n })
      : text("table.count.of", { n, m: format.number(all) }));
    const left = order.length - rows.size;
    more.hidden = left <= 0;
    say(more, text("table.more", { n: format.number(Math.min(left, PAGE)) }));
    table.hidden = order.length === 0 && network.at !== null;
    empty.hidden = !table.hidden;
    if (!empty.hidden) {
      empty.replaceChildren(...(all === 0
        ? [el("p", {}, text("table.empty")), el("p", { class: "note" }, text("table.empty.how"))]
        : [el("p", {}, text("table.nothing")),
          el("button", { type: "button", class: "button", onclick: clear }, text("table.clear"))]));
    }
    for (const [by, head] of Object.entries(heads)) {
      mark(head, "aria-sort", by !== sort.by ? null : sort.direction === 1 ? "ascending" : "descending");
    }
  }

  function clear() {
    search.value = "";
    freeOnly.checked = false;
    arrange();
    search.focus();
  }

  function sortBy(by) {
    sort = { by, direction: sort.by === by ? -sort.direction : COLUMNS[by].first };
    arrange();
  }

  function showMore() {
    const next = order[most];
    most += PAGE;
    arrange();
    rows.get(next)?.name.focus();
  }

  function shut() {
    const made = rows.get(opened);
    opened = null;
    if (made === undefined || made.details === null) return;
    made.details.remove();
    made.details.holder.remove();
    made.details = null;
    mark(made.name, "aria-expanded", "false");
  }

  function toggle(id) {
    const wasOpen = opened === id;
    shut();
    if (wasOpen) return;
    const made = rows.get(id);
    opened = id;
    const details = makeDetails(id, { network, wire, onCharge, onShow: () => map.focusStation(id) });
    const holder = el("tr", { class: "opened" }, el("td", { colspan: 5 }, details.element));
    made.details = { ...details, holder };
    made.row.after(holder);
    mark(made.name, "aria-expanded", "true");
  }

  // While somebody is about to press a row it does not run away.
  function arrangeSoon() {
    if (sortCall) return;
    sortCall = setTimeout(() => {
      sortCall = 0;
      if (body.matches(":hover") || body.contains(document.activeElement)) arrangeSoon();
      else arrange();
    }, SORTED_MS);
  }

  let typed = 0;
  search.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => {
      most = PAGE;
      arrange();
    }, network.stations.size > 200 ? 120 : 0);
  });
  freeOnly.addEventListener("change", arrange);

  network.onChange(({ ids, whole }) => {
    for (const id of ids) write(id);
    if (opened !== null && (whole || ids.has(opened))) rows.get(opened).details.update();
    if (whole) arrange();
    else if (freeOnly.checked || COLUMNS[sort.by].isLive) arrangeSoon();
  });
  function speak() {
    translate(root);
    search.placeholder = text("table.search");
    mark(search, "aria-label", text("table.search"));
    for (const id of rows.keys()) write(id);
    if (opened !== null) rows.get(opened).details.update();
    if (network.at !== null) arrange();
  }
  onLanguage(speak);
  speak();
}
