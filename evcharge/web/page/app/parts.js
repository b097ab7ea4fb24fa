// What not every network has: more stations than the server tells of at once, and simulated cars.

import { patiently } from "./dom.js";

const SOON_MS = 400;

/** Show what is simulated, from the moment on at which something is: its code comes only then. */
export function followSimulation(options) {
  const { network } = options;
  let isAsked = false;
  network.onChange(async () => {
    if (isAsked || network.simulation === null) return;
    isAsked = true;
    const { mountSimulation } = await patiently(() => import("./simulation.js"));
    mountSimulation(options);
  });
}

/** Ask for the stations in view, now and whenever another part is seen. */
export async function followView(map, wire) {
  const asked = await wire.request("START", { limit: 1 }).catch(() => null);
  const first = Object.values(asked?.data.station_models ?? {})[0];
  if (first === undefined) return;
  map.showPart(first);
  let call = 0;
  const ask = async () => {
    const reply = await wire.within(map.bounds());
    // Where too many are in view still, one has to be nearer.
    if (reply?.data.reason === "too_many_stations") map.closer();
  };
  map.onMove(() => {
    clearTimeout(call);
    call = setTimeout(ask, SOON_MS);
  });
  ask();
}
