// A slider with its value beside its name.

import { el, mark, say } from "./dom.js";

/** `changed(value)` is called at each step; `show(value, said, from)` fills the track from there. */
export function slider(id, label, changed, most = 100) {
  const shown = el("output", { class: "trip-value", for: id });
  const input = el("input", { id, type: "range", min: 0, max: most, step: 1, oninput: () => changed(Number(input.value)) });
  return {
    input,
    element: el("div", { class: "field trip-slider" },
      el("div", { class: "trip-slider-head" }, el("label", { for: id }, label), shown), input),
    show(value, said, from = 0) {
      if (Number(input.value) !== value) input.value = value;
      // The part of the track that is filled: what is in the battery, or is to be charged.
      input.style.setProperty("--from", `${(from / most) * 100}%`);
      input.style.setProperty("--part", `${(value / most) * 100}%`);
      say(shown, said);
      mark(input, "aria-valuetext", said);
    },
  };
}
