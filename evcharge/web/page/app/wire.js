// The WebSocket: requests and their replies, events, and a connection that comes again by itself.

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const SILENT_MS = 75_000; // The server says something at least every 30 s.
const UNANSWERED_MS = 20_000;
const BUSY_MS = 4000;
const REFRESH_MS = 120_000; // Prices change by the hour, and names without an event.
const TOPICS = ["stations", "figures", "vehicles", "simulation"];
const GOING_AWAY = 1001;

/** What a request ends with whose answer will not come. */
export class Lost extends Error {}

/**
 * The connection to the server.
 *
 * `request(type, data)` gives a promise of `{data, code}`; it is rejected with `Lost` where there is
 * no connection. What a break has cut off is asked again once, but LOGIN, which would make a second
 * user. `onEvent(listener)` hears `(data, isSnapshot)`; `onLink(listener)` hears `{state, busy,
 * message}` with a state of "connecting", "live", "lost", "ending", "blocked" or "refused".
 * `follow(userId)` asks for a driver's events too, `follow(null)` no more; where the server does not
 * know the driver, the event is `{user: null}`; where there are too many stations to be told of all,
 * `{isTooLarge: true}`.
 */
export function connect(language) {
  let socket = null;
  let lastId = 0;
  let pending = new Map();
  let cutOff = [];
  let failures = 0;
  let wasOpen = false;
  let user = null;
  let area = null;
  let heardAt = 0;
  let calls = { retry: 0, refresh: 0, busy: 0 };
  let link = { state: "connecting", busy: false, message: "" };
  const eventListeners = new Set();
  const linkListeners = new Set();

  const later = (name, action, ms) => {
    clearTimeout(calls[name]);
    calls[name] = setTimeout(action, ms);
  };
  function setLink(change) {
    link = { ...link, ...change };
    for (const listener of linkListeners) listener(link);
  }
  const tell = (data, isSnapshot) => {
    for (const listener of eventListeners) listener(data, isSnapshot);
  };

  function open() {
    clearTimeout(calls.retry);
    if (socket !== null) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const mine = new WebSocket(`${scheme}://${location.host}/api/v1/socket?lang=${language}`);
    socket = mine;
    heardAt = Date.now();
    mine.onopen = () => {
      wasOpen = true;
      const again = cutOff;
      cutOff = [];
      subscribe();
      for (const asked of again) send(asked);
    };
    mine.onmessage = (message) => {
      heardAt = Date.now();
      take(JSON.parse(message.data));
    };
    mine.onclose = (event) => lost(event.code);
  }

  function drop(code) {
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
    lost(code);
  }

  function lost(code) {
    socket = null;
    clearTimeout(calls.refresh);
    failures += 1;
    const unanswered = [...pending.values(), ...cutOff];
    pending = new Map();
    cutOff = [];
    for (const asked of unanswered) {
      if (asked.type === "SUBSCRIBE") asked.reject(new Lost());
      else if (asked.type === "LOGIN" || asked.tries > 1) asked.reject(new Lost());
      else cutOff.push(asked);
    }
    let state = code === GOING_AWAY || (link.state === "ending" && failures < 4) ? "ending" : "lost";
    if (link.state === "refused") state = "refused";
    setLink({ state });
    if (!wasOpen && failures > 2) lookForProxy();
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS);
    later("retry", open, pause / 2 + (Math.random() * pause) / 2);
  }

  // Where pages come through and WebSockets do not, something between stops them.
  async function lookForProxy() {
    const reply = await fetch("/static/settings.json", { cache: "no-store" }).catch(() => null);
    if (reply !== null && reply.ok && !wasOpen) setLink({ state: "blocked" });
  }

  function send(asked) {
    asked.tries += 1;
    lastId += 1;
    asked.at = Date.now();
    pending.set(lastId, asked);
    const { type, data } = asked;
    socket.send(JSON.stringify({ type, data, status: {}, timestamp: "", id: lastId }));
  }

  function take(line) {
    if (line.type === "EVENT") {
      tell(line.data, false);
      return;
    }
    const asked = pending.get(line.id);
    const code = line.status.code;
    if (code === 429) {
      setLink({ busy: true, message: line.status.message });
      later("busy", () => setLink({ busy: false }), BUSY_MS);
    }
    if (asked !== undefined) {
      pending.delete(line.id);
      asked.resolve({ data: line.data, code, message: line.status.message });
    }
  }

  const ask = (type, data) => new Promise((resolve, reject) => {
    if (socket === null || socket.readyState !== WebSocket.OPEN) reject(new Lost());
    else send({ type, data, resolve, reject, tries: 0 });
  });

  async function subscribe() {
    const data = { topics: user === null ? TOPICS : [...TOPICS, "user"] };
    if (user !== null) data.user_id = user;
    if (area !== null) data.area = area;
    const reply = await ask("SUBSCRIBE", data).catch(() => null);
    if (reply === null) return null;
    if (reply.code === 200) {
      failures = 0;
      tell(reply.data.snapshot, true);
      setLink({ state: "live" });
      later("refresh", subscribe, REFRESH_MS);
    } else if (reply.code === 404 && user !== null) {
      user = null;
      tell({ user: null }, false);
      await subscribe();
    } else if (reply.data.reason === "too_many_stations") {
      if (area === null) tell({ isTooLarge: true }, false);
    } else {
      setLink({ state: "refused", message: reply.message });
      drop(0);
    }
    return reply;
  }

  setInterval(() => {
    const quiet = Date.now() - heardAt;
    const waits = [...pending.values()].some((asked) => Date.now() - asked.at > UNANSWERED_MS);
    if (socket !== null && (quiet > SILENT_MS || (waits && quiet > UNANSWERED_MS))) drop(0);
  }, 5000);
  addEventListener("offline", () => drop(0));
  addEventListener("online", open);

  open();
  return {
    request: ask,
    onEvent: (listener) => eventListeners.add(listener),
    onLink(listener) {
      linkListeners.add(listener);
      listener(link);
    },
    follow(userId) {
      user = userId;
      return subscribe();
    },
    /** Only the stations within `{south, west, north, east}`. */
    within(bounds) {
      area = bounds;
      return subscribe();
    },
    /** Ask for everything anew, soon; not all pages in the same moment. */
    refresh: () => later("refresh", subscribe, 500 + Math.random() * 1500),
    /** Have the server's texts in another language: a connection has one. */
    speak(other) {
      if (other === language) return;
      language = other;
      if (socket === null) return;
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      socket = null;
      cutOff.push(...[...pending.values()].filter((asked) => asked.type !== "SUBSCRIBE"));
      pending = new Map();
      open();
    },
  };
}
