// What app.html does: a map that is live, a reservation or a queue, a charge, a receipt.
const ADDRESS = "ws://127.0.0.1:8080/api/v1/socket?lang=" + navigator.language.slice(0, 2);
const CAR = {user_name: "Ana", selected_car: "Tesla Model 3", battery_car: 40};
const at = (id) => document.getElementById(id);
const stations = {};
const waiting = new Map();
let server, user = {}, number = 0;

function connect() {
  server = new WebSocket(ADDRESS);
  server.onmessage = ({data}) => {
    const line = JSON.parse(data);
    if (line.type === "EVENT") return show(line.data);
    waiting.get(line.id)?.answered(line.data);
    waiting.delete(line.id);
  };
  server.onopen = () => {
    at("said").textContent = "";
    // Whatever was not answered is asked again.
    for (const {request} of waiting.values()) server.send(request);
    subscribe();
  };
  server.onclose = () => {
    at("said").textContent = `${ADDRESS}? --web-origin ${location.origin}?`;
    setTimeout(connect, 1000);
  };
}

function ask(type, data) {
  const id = ++number;
  const request = JSON.stringify({type, data, status: {}, timestamp: "", id});
  if (server.readyState === WebSocket.OPEN) server.send(request);
  return new Promise((answered) => waiting.set(id, {request, answered}));
}

async function subscribe() {
  if (!user.user_id) user = await ask("LOGIN", CAR);
  const asked = {topics: ["stations", "user"], user_id: user.user_id};
  show((await ask("SUBSCRIBE", asked)).snapshot);
}

function show(news) {
  for (const [id, change] of Object.entries(news.stations ?? {})) showStation(id, change);
  if (news.user) showJourney(news.user);
}

function showStation(id, change) {
  const {circle, option, ...known} = stations[id] ?? newStation(id);
  const station = (stations[id] = {circle, option, ...known, ...change});
  circle.setAttribute("cx", station.longitude);
  circle.setAttribute("cy", -station.latitude);
  circle.classList.toggle("full", station.available_slots === 0);
  option.text = `${station.name_station}: ${station.available_slots}/${station.max_slots}`;
}

function newStation(id) {
  const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  circle.setAttribute("r", 0.003);
  circle.onclick = () => choose(id);
  at("map").append(circle);
  const option = new Option("", id);
  at("station").append(option);
  return {circle, option};
}

function choose(id) {
  at("station").value = id;
  for (const [each, {circle}] of Object.entries(stations))
    circle.classList.toggle("chosen", each === id);
}

async function showJourney(now) {
  const {receipt_id} = user;
  user = now;
  at("state").textContent = now.state ?? "";
  at("battery").value = now.battery_percent ?? 0;
  at("actions").replaceChildren(...(now.actions ?? []).map(button));
  if (now.state) return;
  // The journey is over: show what it came to, and begin another.
  if (receipt_id) showReceipt(await ask("RECEIPT", {receipt_id}));
  user = {};
  subscribe();
}

function button(action) {
  const made = document.createElement("button");
  made.textContent = action;
  made.onclick = async () => {
    const {user_id, receipt_id} = user;
    const id_station = user.id_station ?? at("station").value;
    const data = {
      RESERVE: {user_id, id_station, wait: true},
      ARRIVE: {user_id, id_station},
      PAYMENT: {user_id, id_station, confirmation: true},
      CANCEL: {user_id},
      STOP: {user_id, receipt_id},
    }[action];
    at("said").textContent = (await ask(action, data)).message;
  };
  return made;
}

function showReceipt({lines, total, currency}) {
  at("receipt").replaceChildren();
  for (const {dimension, quantity, unit, price, incl_vat} of lines)
    addRow(dimension, `${quantity} ${unit} × ${price}`, incl_vat);
  addRow("", currency, total);
}

function addRow(...cells) {
  const row = at("receipt").insertRow();
  for (const cell of cells) row.insertCell().textContent = cell;
}

at("station").onchange = () => choose(at("station").value);
setInterval(async () => {
  if (user.state !== "CHARGING") return;
  const now = await ask("STATUS", {user_id: user.user_id});
  at("battery").value = now.battery_percent ?? at("battery").value;
}, 1000);
connect();
