// What the page says, in the reader's language. The server's own messages are shown as they come.

import { patiently } from "./dom.js";
import { formatIn } from "./format.js";

const LANGUAGES = {
  pt: () => import("./texts-pt.js"),
  en: () => import("./texts-en.js"),
};

let texts = {};
const KEPT = "evcharge.language";
const listeners = new Set();

/** The language of the page: "pt" or "en". */
export let language = "pt";

/** The text of a key, with what it has in braces replaced. */
export const text = (key, figures = {}) =>
  (texts[key] ?? key).replace(/\{(\w+)\}/g, (all, name) => figures[name] ?? all);

/** Call `listener` whenever the language becomes another. */
export const onLanguage = (listener) => listeners.add(listener);

/** The language that the reader wishes for: of the address, kept, of the browser, Portuguese. */
export function wishedLanguage() {
  const asked = new URLSearchParams(location.search).get("lang");
  let kept = null;
  try {
    kept = localStorage.getItem(KEPT);
  } catch {
    // A browser may forbid it; then nothing is kept.
  }
  const wishes = [asked, kept, ...navigator.languages].map((wish) => (wish ?? "").slice(0, 2));
  return wishes.find((wish) => Object.hasOwn(LANGUAGES, wish)) ?? "pt";
}

/** Keep what the reader has chosen, also for the next visit. */
export function keepLanguage() {
  try {
    localStorage.setItem(KEPT, language);
  } catch {
    // As above.
  }
  const address = new URL(location);
  if (address.searchParams.has("lang")) {
    address.searchParams.set("lang", language);
    history.replaceState(null, "", address);
  }
}

/** Speak another language, in the whole page, once its texts are there. */
export async function speak(other) {
  texts = (await patiently(LANGUAGES[other])).TEXTS;
  language = other;
  formatIn(other);
  document.documentElement.lang = other === "pt" ? "pt-BR" : "en";
  translate(document);
  for (const listener of listeners) listener();
}

/** Write the texts of elements that name theirs by `data-text`, and their names by `data-label`. */
export function translate(root) {
  for (const element of root.querySelectorAll("[data-text]")) {
    element.textContent = text(element.dataset.text);
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
  }
}
