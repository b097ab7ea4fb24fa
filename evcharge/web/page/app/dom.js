// Elements, made without markup: what comes from the network is only ever text.

const SVG = "http://www.w3.org/2000/svg";
const PAUSES_MS = [500, 1000, 2000, 4000];

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An element: `el("p", {class: "x", onclick: f}, "text", child)`. */
export const el = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

/** An element of SVG. */
export const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), attributes, children);

/** Set a text, where it is another. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, where it is another; null takes it away. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/** `action`, at the next frame, once however often it is asked for. */
export function eachFrame(action) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      action();
    });
  };
}

/** What `load` gives, asked again a few times: a server that is busy refuses files, too. */
export async function patiently(load) {
  for (const pause of PAUSES_MS) {
    try {
      return await load();
    } catch (failure) {
      if (!(failure instanceof TypeError)) throw failure;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
  return load();
}
