// "My journey", until somebody takes one: a sentence and a button. All else of it is loaded then.

import { el, patiently, say } from "./dom.js";

const STYLES = "/static/trip.css";

/**
 * Offer a journey in `root`; one that this tab has begun goes on at once.
 *
 * Gives `chargeAt(id)`, to begin one of a car that is at this station.
 */
export function mountTrip(root, tools) {
  const { text, onLanguage } = tools;
  const intro = el("p", { class: "note" });
  const start = el("button", { type: "button", id: "trip-start", class: "button primary", onclick: () => begin() });
  const problem = el("p", { role: "status" });
  let loading = null;
  let hasFailed = false;
  root.append(intro, start, problem);

  function show() {
    say(intro, text("trip.intro"));
    say(start, text(loading === null ? "trip.start" : "trip.starting"));
    say(problem, hasFailed ? text("trip.not_loaded") : "");
  }

  /** Load the trip and show it; `action` is called with it. */
  async function begin(action = (trip) => trip.focus()) {
    loading ??= patiently(() => load(root, tools));
    hasFailed = false;
    show();
    try {
      action(await loading);
    } catch (failure) {
      if (!(failure instanceof TypeError)) throw failure;
      loading = null;
      hasFailed = true;
      show();
    }
  }

  onLanguage(() => intro.isConnected && show());
  show();
  if (isKept()) begin(() => {});
  return { chargeAt: (id) => begin((trip) => trip.chargeAt(id)) };
}

async function load(root, tools) {
  const [{ loadTexts, startTrip }] = await Promise.all([import("./trip-main.js"), loadStyles()]);
  await loadTexts();
  root.replaceChildren();
  return startTrip(root, tools);
}

function loadStyles() {
  if (document.querySelector(`link[href="${STYLES}"]`) !== null) return null;
  return new Promise((resolve, reject) => {
    const link = el("link", { rel: "stylesheet", href: STYLES, onload: resolve, onerror: () => {
      link.remove();
      reject(new TypeError(STYLES));
    } });
    document.head.append(link);
  });
}

function isKept() {
  try {
    return ["user_id", "receipt_id"].some((key) => sessionStorage.getItem(key) !== null);
  } catch {
    return false;
  }
}
