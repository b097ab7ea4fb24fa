// What the page says, in each language. The server's own messages are shown as they come.

import { formatIn } from "./format.js";
import { TRIP } from "./trip-texts.js";

export const TEXTS = {
  pt: {
    ...TRIP.pt,
    tagline: "rede de recarga ao vivo",
    skip: "Ir para a tabela de postos",
    language: "English",
    "language.label": "English: show this page in English",
    network: "Rede",
    trip: "Minha viagem",
    stations: "Postos",

    "link.connecting": "Conectando…",
    "link.live": "Ao vivo",
    "link.lost": "Sem conexão – tentando de novo",
    "link.ending": "O servidor está reiniciando – tentando de novo",
    "link.blocked": "Algo no caminho (um proxy?) não deixa passar WebSocket – tentando de novo",
    "link.busy": "Muitas requisições – aguarde",
    "link.of": "{text} · dados das {time}",

    map: "Mapa",
    "map.plane": "Mapa dos postos",
    "map.closer": "Aproximar",
    "map.farther": "Afastar",
    "map.all": "Mostrar todos os postos",
    "map.north": "Norte para cima",
    "map.car": "Seu carro",
    "map.grid": "quadrícula de {km} km",
    nomap: "Sem mapa de fundo – escala e norte verdadeiros",
    "map.part": "São mais de 1.000 postos: aqui estão os desta parte do mapa",
    "map.hint": "As setas vão de um posto a outro",

    legend: "Legenda",
    "legend.free": "vagas livres",
    "legend.queue": "lotado, com fila",
    "legend.out": "fora de serviço",

    label: "{name}: {n} de {m} vagas livres, fila {q}, {kw} kW, {price} por kWh",
    "label.price": "{name}: {n} de {m} vagas livres, fila {q}, {kw} kW, {price}",
    "label.out": "{name}: fora de serviço",
    noprice: "preço não informado",

    "station.close": "Fechar",
    "station.free": "{n} de {m} vagas livres",
    "station.full": "Lotado",
    "station.out": "Fora de serviço",
    "station.some_out": "{n} fora de serviço",
    "station.nobody": "Ninguém na fila",
    "station.queue": "{n} na fila; quem chega agora fica na posição {next}",
    "station.power": "até {kw} kW",
    "station.kwh": "{price} por kWh",
    "station.connectors": "Conectores",
    "station.or": " ou ",
    "station.of": "{n} de {m} livres",
    "station.out_of": "{n} fora de serviço",
    "station.here": "Ver no mapa",
    "station.gone": "Este posto saiu da rede.",
    "station.none": "Nenhuma vaga está em serviço agora. Outro posto perto pode ter vaga.",
    "station.address": "Endereço",
    "station.status.OUTOFORDER": "com defeito",
    "station.status.INOPERATIVE": "em manutenção",
    "station.status.PLANNED": "ainda não instalada",
    "station.status.UNKNOWN": "estado desconhecido",
    "station.why": "Vaga {uid}: {status}",
    "station.since": "Vaga {uid}: {status}, desde {time}",

    "network.taken": "Vagas em uso",
    "network.taken.of": "de {m}",
    "network.load": "Potência",
    "network.waiting": "na fila",
    "network.sessions": "recargas",
    "network.energy": "kWh entregues",
    "network.out": "fora de serviço",
    "network.since": "Recargas e energia desde que o servidor iniciou",
    "network.range": "mín. {least} · máx. {most}",
    "network.soon": "o gráfico começa em instantes",
    "network.chart.taken":
      "Vagas em uso na última hora: agora {now}, no mínimo {least}, no máximo {most}",
    "network.chart.load":
      "Potência na última hora: agora {now} kW, no mínimo {least} kW, no máximo {most} kW",
    "network.numbers": "ver números",
    "network.numbers.taken": "Vagas em uso, por minuto",
    "network.numbers.load": "Potência, por minuto",
    "network.time": "Hora",
    "network.value.taken": "Vagas",
    "network.value.load": "kW",

    "table.caption": "Postos: vagas livres, fila, potência e preço",
    "table.search": "Buscar por nome ou endereço",
    "table.free_only": "só com vaga livre",
    "table.name": "Posto",
    "table.free": "Livres",
    "table.queue": "Fila",
    "table.power": "kW",
    "table.price": "R$/kWh",
    "table.count": "{n} postos",
    "table.count.one": "1 posto",
    "table.count.of": "{n} de {m} postos",
    "table.more": "Mostrar mais {n}",
    "table.empty": "A rede ainda não tem postos.",
    "table.empty.how": "Assim que houver um, ele aparece aqui e no mapa.",
    "table.nothing": "Nenhum posto assim.",
    "table.clear": "Limpar a busca",
    "table.unknown": "preço não informado",
    "table.out": "fora",
  },
  en: {
    ...TRIP.en,
    tagline: "charging network, live",
    skip: "Skip to the table of stations",
    language: "Português",
    "language.label": "Português: mostrar esta página em português",
    network: "Network",
    trip: "My trip",
    stations: "Stations",

    "link.connecting": "Connecting…",
    "link.live": "Live",
    "link.lost": "Not connected – trying again",
    "link.ending": "The server is restarting – trying again",
    "link.blocked": "Something between (a proxy?) lets no WebSocket through – trying again",
    "link.busy": "Too many requests – please wait",
    "link.of": "{text} · data of {time}",

    map: "Map",
    "map.plane": "Map of the stations",
    "map.closer": "Zoom in",
    "map.farther": "Zoom out",
    "map.all": "Show all stations",
    "map.north": "North is up",
    "map.car": "Your car",
    "map.grid": "{km} km grid",
    nomap: "No background map – true scale and north",
    "map.part": "There are more than 1,000 stations: these are in this part of the map",
    "map.hint": "Arrow keys go from one station to another",

    legend: "Legend",
    "legend.free": "free slots",
    "legend.queue": "full, with a queue",
    "legend.out": "out of service",

    label: "{name}: {n} of {m} slots free, queue {q}, {kw} kW, {price} per kWh",
    "label.price": "{name}: {n} of {m} slots free, queue {q}, {kw} kW, {price}",
    "label.out": "{name}: out of service",
    noprice: "price not known",

    "station.close": "Close",
    "station.free": "{n} of {m} slots free",
    "station.full": "Full",
    "station.out": "Out of service",
    "station.some_out": "{n} out of service",
    "station.nobody": "Nobody in the queue",
    "station.queue": "{n} in the queue; who comes now is at position {next}",
    "station.power": "up to {kw} kW",
    "station.kwh": "{price} per kWh",
    "station.connectors": "Connectors",
    "station.or": " or ",
    "station.of": "{n} of {m} free",
    "station.out_of": "{n} out of service",
    "station.here": "Show on the map",
    "station.gone": "This station has left the network.",
    "station.none": "No slot is in service now. Another station nearby may have one.",
    "station.address": "Address",
    "station.status.OUTOFORDER": "broken",
    "station.status.INOPERATIVE": "under maintenance",
    "station.status.PLANNED": "not built yet",
    "station.status.UNKNOWN": "state not known",
    "station.why": "Slot {uid}: {status}",
    "station.since": "Slot {uid}: {status}, since {time}",

    "network.taken": "Slots in use",
    "network.taken.of": "of {m}",
    "network.load": "Power",
    "network.waiting": "in queues",
    "network.sessions": "charges",
    "network.energy": "kWh delivered",
    "network.out": "out of service",
    "network.since": "Charges and energy since the server has started",
    "network.range": "min. {least} · max. {most}",
    "network.soon": "the chart begins in a moment",
    "network.chart.taken":
      "Slots in use over the last hour: now {now}, at least {least}, at most {most}",
    "network.chart.load":
      "Power over the last hour: now {now} kW, at least {least} kW, at most {most} kW",
    "network.numbers": "see numbers",
    "network.numbers.taken": "Slots in use, by minute",
    "network.numbers.load": "Power, by minute",
    "network.time": "Time",
    "network.value.taken": "Slots",
    "network.value.load": "kW",

    "table.caption": "Stations: free slots, queue, power and price",
    "table.search": "Search name or address",
    "table.free_only": "with a free slot only",
    "table.name": "Station",
    "table.free": "Free",
    "table.queue": "Queue",
    "table.power": "kW",
    "table.price": "R$/kWh",
    "table.count": "{n} stations",
    "table.count.one": "1 station",
    "table.count.of": "{n} of {m} stations",
    "table.more": "Show {n} more",
    "table.empty": "The network has no stations yet.",
    "table.empty.how": "As soon as there is one, it is shown here and on the map.",
    "table.nothing": "No such station.",
    "table.clear": "Clear the search",
    "table.unknown": "price not known",
    "table.out": "out",
  },
};

const KEPT = "evcharge.language";
const listeners = new Set();

/** The language of the page: "pt" or "en". */
export let language = "pt";

/** The text of a key, with what it has in braces replaced. */
export const text = (key, figures = {}) =>
  (TEXTS[language][key] ?? key).replace(/\{(\w+)\}/g, (all, name) => figures[name] ?? all);

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
  return wishes.find((wish) => Object.hasOwn(TEXTS, wish)) ?? "pt";
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

/** Speak another language, in the whole page. */
export function speak(other) {
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
