// Numbers, money and times as the reader writes them.

let locale = "pt-BR";
let made = new Map();

/** Write as in `language`, "pt" or "en", from now on. */
export function formatIn(language) {
  locale = language === "en" ? "en-GB" : "pt-BR";
  made = new Map();
}

// Making an Intl object costs a hundred times what using it does.
function kept(key, make) {
  let found = made.get(key);
  if (found === undefined) {
    found = make();
    made.set(key, found);
  }
  return found;
}

const plain = (value, digits, least = digits) =>
  kept(`n${digits}/${least}`, () => new Intl.NumberFormat(locale, {
    maximumFractionDigits: digits, minimumFractionDigits: least,
  })).format(value);

// The browser may not know a time zone that the server knows.
function inZone(options) {
  try {
    return new Intl.DateTimeFormat(locale, options);
  } catch {
    return new Intl.DateTimeFormat(locale, { ...options, timeZone: "UTC" });
  }
}

const time = (value, options) =>
  kept(`t${JSON.stringify(options)}`, () => new Intl.DateTimeFormat(locale, options))
    .format(new Date(value));

export const format = {
  number: (value, digits = 0) => plain(value, digits),
  money: (value) => kept("money", () => new Intl.NumberFormat(locale, {
    style: "currency", currency: "BRL",
  })).format(value),
  /** 7.4 -> "7,4"; 150 -> "150". */
  kw: (value) => plain(value, value < 100 ? 1 : 0, 0),
  kwh: (value) => plain(value, value < 100 ? 1 : 0),
  km: (value) => plain(value, value < 10 ? 1 : 0),
  percent: (value) => `${plain(value, 0)}%`,
  /** 42 -> "42 min"; 160 -> "2 h 40 min". */
  minutes(value) {
    const whole = Math.max(0, Math.round(value));
    if (value > 0 && value < 1) return "< 1 min";
    if (whole < 60) return `${plain(whole, 0)} min`;
    const hours = Math.floor(whole / 60);
    return whole % 60 ? `${plain(hours, 0)} h ${whole % 60} min` : `${plain(hours, 0)} h`;
  },
  /** "13:45" */
  hour: (value) => time(value, { hour: "2-digit", minute: "2-digit" }),
  /** "13:45:12" */
  clock: (value) => time(value, { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  /** "seg., 13:45", in a time zone */
  weekday: (value, timeZone) => kept(`w${timeZone}`, () => inZone(
    { weekday: "short", hour: "2-digit", minute: "2-digit", timeZone })).format(value),
  /** "07/04/2025 13:45" */
  moment: (value) => time(value, { dateStyle: "short", timeStyle: "short" }),
  /** For sorting names as people do. */
  compare: (one, other) => kept("compare", () => new Intl.Collator(locale, { numeric: true }))
    .compare(one, other),
};
