// Parts that several views of my trip have.

import { el, say } from "./dom.js";

/** A view's title: the focus goes there when the view is new. */
export const heading = (title) => el("h3", { class: "trip-title", tabindex: "-1" }, title);

/** A button; `kind`: further classes. */
export const button = (label, onclick, kind = "") =>
  el("button", { type: "button", class: kind.includes("quiet") ? kind : `button ${kind}`.trim(), onclick }, label);

/** So many grey lines, while something is awaited. */
export const steady = (n) => Array.from({ length: n }, () =>
  el("div", { class: "trip-skeleton", "aria-hidden": "true" }));

/** Names and what they have: `[[name, value or values], …]`; those without a value are left out. */
export const facts = (pairs) => el("dl", { class: "trip-facts" }, ...pairs
  .filter(([, value]) => value !== null && value !== undefined && value.length !== 0)
  .map(([name, value]) => el("div", {}, el("dt", {}, name),
    ...(Array.isArray(value) ? value : [value]).map((one) => el("dd", {}, one)))));

/** A figure with its name over it, and what it is of beneath: `show(value, of)`. */
export function figure(name) {
  const value = el("dd", { class: "trip-figure-value" });
  const of = el("dd", { class: "trip-figure-of" });
  return {
    element: el("div", { class: "trip-figure" }, el("dt", {}, name), value, of),
    show(said, beneath) {
      say(value, said);
      say(of, beneath);
    },
  };
}
