// My journey in words: why a station, by which tariff, what a receipt's lines mean. No screen.

const DAY_S = 86_400;
const HOUR_S = 3600;
const MINUTE_S = 60;

/** How long until somebody is charged at a station, minutes. */
const wholeTime = (option) =>
  option.travel_minutes + option.wait_minutes + option.charge_minutes;

/** Whether nobody knows what charging costs there. */
export const isPriceless = (option) => option.assumed.includes("price");

/** The words of my trip by `text` and `format`: each gives a text, or a list of them. */
export function makeWords(text, format) {
  const price = (option) => (isPriceless(option)
    ? text("trip.noprice") : format.money(option.price_loading));
  /** What a session is expected to come to; null where nobody knows. */
  const amount = ({ amount: money, assumed }) => (money === null || assumed?.includes("price")
    ? null : format.money(money));
  const percent = (value) => format.percent(value);

  /** What a station is best in, among `options`: "distance", "time", "price". */
  function bestIn(option, options) {
    const marks = {
      distance: (other) => other.distance_km,
      time: wholeTime,
      price: (other) => (isPriceless(other) ? Infinity : other.price_loading),
    };
    if (options.length < 2) return [];
    return Object.keys(marks).filter((key) => {
      const mine = marks[key](option);
      return options.every((other) => other === option || marks[key](other) > mine);
    });
  }

  /** Why the first one is suggested. */
  function why(option, criterion) {
    return text(option.fitting_slots > 0 ? `trip.best.${criterion}` : "trip.best.full");
  }

  /** How an option differs from the first one, in money and in time. */
  function differences(option, best) {
    const found = [];
    if (!isPriceless(option) && !isPriceless(best)) {
      const more = option.price_loading - best.price_loading;
      const money = format.money(Math.abs(more));
      if (Math.abs(more) >= 0.01) found.push(text(more < 0 ? "trip.cheaper" : "trip.dearer", { money }));
    }
    const later = wholeTime(option) - wholeTime(best);
    if (Math.abs(later) >= 1) {
      const time = format.minutes(Math.abs(later));
      found.push(text(later < 0 ? "trip.sooner" : "trip.later", { time }));
    }
    return found;
  }

  function slots(option) {
    const { fitting_slots: free, queue_length: queue } = option;
    if (free === 1) return text("trip.free_slots.one");
    if (free > 0) return text("trip.free_slots", { n: free });
    return queue > 0 ? text("trip.full", { n: queue }) : text("trip.full.nobody");
  }

  /** Which stations were not looked at, and why; null where all were. */
  function excluded(counts) {
    const list = Object.entries(counts ?? {}).filter(([, n]) => n > 0)
      .map(([reason, n]) => text(`trip.excluded.${reason}`, { n }));
    return list.length ? text("trip.excluded", { list: list.join(", ") }) : null;
  }

  /** Why there is no station at all. */
  function nothing({ nearest, excluded: counts, form }, nameOf) {
    const { out_of_range: far = 0, no_connector: unfit = 0, not_in_service: out = 0 } = counts ?? {};
    if (far > 0 && form.battery === 0) return text("trip.none.zero");
    if (nearest !== null) {
      const missing = Math.max(nearest.missing_km, 0.1);
      return text("trip.none.range", { name: nameOf(nearest.id_station),
        km: format.km(nearest.distance_km), missing: format.km(missing) });
    }
    if (unfit > 0) return text("trip.none.connector");
    return text(out > 0 ? "trip.none.service" : "trip.none.empty");
  }

  function component(element, { type, price: each, vat }) {
    const withTax = each * (1 + (vat ?? 0) / 100);
    const { reservation, start_time: from, end_time: to, ...others } = element.restrictions ?? {};
    const key = !reservation ? type : `${reservation}${type === "FLAT" ? ".FLAT" : ""}`;
    let line = text(`trip.tariff.${key}`, { price: format.money(withTax) });
    if (from || to) line = text("trip.tariff.hours", { line, from: from ?? "00:00", to: to ?? "24:00" });
    return Object.keys(others).length ? text("trip.tariff.sometimes", { line }) : line;
  }

  /** What is taken at a station, in lines: `details` is `{station, tariffs}`. */
  function tariff({ station, tariffs }) {
    const found = tariffs[station.tariff];
    if (found === undefined) {
      if (station.price_kwh === null || !station.price_known) return [text("trip.noprice")];
      return [text("trip.tariff.kwh", { price: format.money(station.price_kwh) })];
    }
    const said = found.tariff_alt_text?.find((one) => one.language === text("trip.lang"));
    if (said !== undefined) return [said.text];
    return found.elements.flatMap((element) =>
      element.price_components.map((one) => component(element, one)));
  }

  /** What had to be assumed of a charge, in sentences. */
  function assumptions(option, station) {
    const found = [];
    if (isPriceless(option)) {
      const each = format.money(station?.price_kwh ?? 2);
      const total = option.price_loading > 0 ? format.money(option.price_loading) : null;
      found.push(total === null ? text("trip.assumed.price.kwh", { price: each })
        : text("trip.assumed.price", { price: each, total }));
    }
    const list = option.assumed.filter((word) => word !== "price")
      .map((word) => text(`trip.assumed.${word}`));
    if (list.length) found.push(text("trip.assumed", { list: list.join(", ") }));
    return found;
  }

  /** What a plan of a trip goes by, in a sentence. */
  function trip(assumed) {
    const known = assumed.filter((word) => word !== "price");
    const said = [text("trip.assumed.trip", { list: known.map((word) => text(`trip.assumed.${word}`)).join("; ") })];
    if (known.length < assumed.length) said.push(text("trip.assumed.price.some"));
    return said.join(" ");
  }

  /** A duration that is counted down, seconds: "23 s", "4 min 05 s", "1 h 20 min". */
  function left(seconds) {
    const whole = Math.max(0, Math.ceil(seconds));
    if (whole >= HOUR_S) return format.minutes(whole / MINUTE_S);
    if (whole < MINUTE_S) return `${whole} s`;
    return `${Math.floor(whole / MINUTE_S)} min ${String(whole % MINUTE_S).padStart(2, "0")} s`;
  }

  /** A moment, seconds since the epoch, as a clock shows it; to the second where that matters. */
  function clock(seconds, now) {
    const ms = seconds * 1000;
    if (Math.abs(seconds - now) > DAY_S) return format.moment(ms);
    return Math.abs(seconds - now) < 10 * 60 ? format.clock(ms) : format.hour(ms);
  }

  /** A receipt's lines: `{item, quantity, amount}`. */
  function lines(receipt) {
    return receipt.lines.map((line) => {
      const isTimed = line.unit !== "" && line.unit !== null && line.unit !== undefined;
      const each = format.money(line.price * (1 + (line.vat ?? 0) / 100));
      const amount = line.dimension === "ENERGY" || !isTimed
        ? format.number(line.quantity, 2) : format.number(line.quantity, line.quantity < 0.1 ? 3 : 2);
      return {
        item: text(`trip.line.${line.dimension}`),
        quantity: isTimed ? `${amount} ${line.unit} × ${each}` : "",
        amount: format.money(line.incl_vat),
      };
    });
  }

  /** How long what took, by a receipt. */
  function times(receipt) {
    return [["reserved", receipt.reservation_minutes], ["charging", receipt.charge_minutes],
      ["idle", receipt.idle_minutes]].filter(([, minutes]) => minutes > 0)
      .map(([key, minutes]) => text(`trip.times.${key}`, { time: format.minutes(minutes) }));
  }

  return { price, amount, percent, bestIn, why, differences, slots, excluded, nothing, tariff, assumptions, trip,
    left, clock, lines, times };
}
