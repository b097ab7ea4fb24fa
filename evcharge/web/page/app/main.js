// Wires the page: the connection, the network's state, and what shows it.

import { say } from "./dom.js";
import { format } from "./format.js";
import { mountMap } from "./map.js";
import { mountNetwork } from "./network.js";
import { followSimulation, followView } from "./parts.js";
import { Network } from "./state.js";
import { mountTable } from "./table.js";
import { keepLanguage, language, onLanguage, speak, text, wishedLanguage } from "./texts.js";
import { mountTrip } from "./trip.js";
import { connect } from "./wire.js";

const root = document.documentElement;
const at = (id) => document.getElementById(id);

async function readSettings() {
  const reply = await fetch("/static/settings.json").catch(() => null);
  const settings = reply !== null && reply.ok ? await reply.json() : {};
  return { name: "evcharge", tiles: null, attribution: null, geojson: null, time_scale: 1,
    time_zone: "UTC", ...settings };
}

/** The state of the connection, in the head and as colours of the page. */
function showLink(link, network) {
  const isLive = link.state === "live";
  const said = link.busy ? text("link.busy")
    : link.state === "refused" ? link.message : text(`link.${link.state}`);
  const isStale = !isLive && network.at !== null;
  say(at("link-text"), isStale ? text("link.of", { text: said, time: format.clock(network.at) }) : said);
  root.dataset.link = link.busy ? "busy" : link.state;
  root.toggleAttribute("data-stale", isStale);
  if (!isLive) delete root.dataset.live;
}

async function main() {
  await speak(wishedLanguage());
  const network = new Network();
  const settings = await readSettings();
  // What is shown is made in the same turn as the connection: no event can come before.
  const wire = connect(language);
  let link = { state: "connecting", busy: false, message: "" };
  wire.onEvent((data, isSnapshot) => {
    if (data.isTooLarge) {
      network.isPart = true;
      followView(map, wire);
    } else if (network.take(data, isSnapshot)) wire.refresh();
  });
  wire.onLink((now) => {
    link = now;
    showLink(link, network);
  });
  onLanguage(() => showLink(link, network));
  say(at("name"), settings.name);
  let trip = null;
  const onCharge = (id) => trip?.chargeAt(id);
  const map = mountMap(at("map"), at("legend"), { network, settings, wire, onCharge });
  mountNetwork(at("network-root"), { network });
  mountTable(at("stations-root"), { network, map, wire, onCharge });
  trip = mountTrip(at("trip-root"), { wire, state: network, map, settings, text, format, onLanguage });
  followSimulation({ network, map, settings, clock: at("clock"), legend: at("legend"), panel: at("network-root") });
  network.onChange(() => {
    root.dataset.ready = "";
    if (link.state === "live") root.dataset.live = "";
  });
  at("language").addEventListener("click", async () => {
    await speak(language === "pt" ? "en" : "pt");
    keepLanguage();
    wire.speak(language);
  });
  const nameLanguage = () => {
    document.title = `${settings.name} – ${text("tagline")}`;
    say(at("language"), text("language"));
    at("language").lang = language === "pt" ? "en" : "pt-BR";
  };
  nameLanguage();
  onLanguage(nameLanguage);
  root.dataset.made = "";
}

main();
