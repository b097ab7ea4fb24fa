// A network of so many stations that the server tells of a part of it only: what the map shows.

const SOON_MS = 400;

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
