// A driver pays for a slot, in a page or with Node 22: node first.mjs
const server = new WebSocket("ws://127.0.0.1:8080/api/v1/socket");
const replies = [];
server.onmessage = ({data}) => replies.shift()(JSON.parse(data).data);
await new Promise((open) => { server.onopen = open; });

function ask(type, data) {
  server.send(JSON.stringify({type, data, status: {}, timestamp: ""}));
  return new Promise((answered) => replies.push(answered));
}

const car = {user_name: "Ana", selected_car: "Tesla Model 3", battery_car: 40};
const {user_id} = await ask("LOGIN", car);
const position = {latitude: -12.2664, longitude: -38.9663};
const found = await ask("SELECTION_STATION", {user_id, position});
console.log(found.message);
const choice = {user_id, id_station: found.id_station, confirmation: true};
const paid = await ask("PAYMENT", choice);
console.log(paid.message);
server.close();
