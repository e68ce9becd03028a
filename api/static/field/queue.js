// Sending what waits: photos first, then actions in order, each answered for itself. Runs in a window and in the service
// worker; a lock lets one of them send at a time. Nothing leaves the phone's queue before the server has it.
import { ahead_s, api, NoLine, now, Refused, session, SignIn } from "./link.js";
import { drop, dropPhoto, keepOnPhone, newKey, ofPhone, photo, queue, restate, settle, whose } from "./store.js";

const TOGETHER = 20;
const KEPT_DAYS = 3;
const PART = 1 << 20;
const told = "BroadcastChannel" in self ? new BroadcastChannel("wangge-field") : null;
const here = new Set();

/** Be called with {what, …} whenever something about the queue changed, wherever it was sent from. */
export function onNews(hear) {
  here.add(hear);
  told?.addEventListener("message", (event) => hear(event.data));
}
function tell(news) {
  told?.postMessage(news);
  here.forEach((hear) => hear(news));
}
export const changed = () => tell({ what: "queue" });

/** The name of this installation: random, and not the worker's. */
export async function device() {
  let name = await ofPhone("device");
  if (!name) {
    name = newKey();
    await keepOnPhone("device", name);
  }
  return name;
}

/** Make an action that happens now: its own time by the phone's clock, and how far that clock was known to be off. */
export function action(kind, given) {
  return {
    key: newKey(now().getTime()), kind, happened_at: new Date().toISOString(), offset_s: ahead_s(),
    position: null, case: null, of: null, base_version: null, photos: [], voice: [], fields: {}, ...given,
  };
}

/**
 * Return the queue as a person reads it: rows with `held`, the number of the row before them that has to go first.
 * A row is held while an earlier one of the same matter, or the one that it builds on, was not taken.
 */
export function withHolds(rows) {
  const open = new Map();
  return rows.map((row) => {
    const names = [row.action.case, row.action.of].filter(Boolean);
    const before = names.map((name) => open.get(name)).find(Boolean) ?? null;
    if (row.state !== "done") for (const name of [...names, row.key]) open.set(name, row.key);
    return { ...row, held: row.state === "waiting" ? before : null };
  });
}

/** What can be sent now: waiting rows whose matter has nothing refused or in conflict before them. */
function ready(rows) {
  const stuck = new Set();
  return rows.filter((row) => {
    const names = [row.key, row.action.case, row.action.of].filter(Boolean);
    const blocked = names.some((name) => stuck.has(name)) || ["conflict", "refused"].includes(row.state);
    if (blocked) names.forEach((name) => stuck.add(name));
    return row.state === "waiting" && !blocked;
  });
}

/**
 * Send everything that can be sent. Answers {state, sent}: done, busy (another one sends), offline, signin, other (another
 * worker is signed in), or later (the server asked to come again). Never throws for what the line or the server does.
 */
export async function send() {
  const work = async (lock) => (lock === null ? { state: "busy", sent: 0 } : drain());
  const outcome = await (navigator.locks
    ? navigator.locks.request("wangge-field-send", { ifAvailable: true }, work) : work(undefined));
  if (outcome.state !== "busy") tell({ what: "sent", ...outcome });
  return outcome;
}

async function drain() {
  let sent = 0;
  try {
    const who = await whose();
    if (!who) return { state: "signin", sent };
    const { worker } = await session();
    if (!worker) return { state: "signin", sent };
    if (worker.id !== who.id) return { state: "other", sent };
    tell({ what: "sending" });
    const tried = new Set();
    for (;;) {
      const rows = ready(await queue()).filter((row) => !tried.has(row.key)).slice(0, TOGETHER);
      if (!rows.length) break;
      rows.forEach((row) => tried.add(row.key));
      sent += await together(rows).catch((error) => alone(rows, error));
    }
    await tidy();
    const left = ready(await queue()).length;
    return { state: left ? "later" : "done", sent };
  } catch (error) {
    if (error instanceof SignIn) return { state: "signin", sent };
    if (error instanceof NoLine) return { state: "offline", sent };
    if (error instanceof Refused) return { state: "later", sent, words: error.message };
    throw error;
  }
}

/** How far ahead of the server's clock a corrected time may lie before the correction itself is doubted. */
const LEAD_MS = 600000;

/**
 * The phone's clock may have been set between what happened and now: a time that would lie ahead is corrected by what is
 * known of the clock today instead. Written down before the first try, for a key never stands for two contents.
 */
async function doubted(row) {
  const { happened_at, offset_s } = row.action;
  if (!happened_at || offset_s === null || new Date(happened_at) - offset_s * 1000 < now().getTime() + LEAD_MS) return;
  row.action.offset_s = ahead_s();
  await restate(row.key, row.action);
}

/** Send some rows with their photos; returns how many are settled. */
async function together(rows) {
  const whole = [];
  for (const row of rows) {
    await doubted(row);
    const refused = await photosOf(row);
    if (refused) await settle(row.key, "refused", { message: refused.message, field: "photos", code: "photo" });
    else whole.push(row);
  }
  if (!whole.length) return 0;
  const body = JSON.stringify({ device: await device(), phone_time: new Date().toISOString(), actions: whole.map(outgoing) });
  const answer = await api("sync", { method: "POST", body, headers: { "Content-Type": "application/json" }, most_ms: 120000 });
  const { results } = await answer.json();
  let count = 0;
  for (const result of results) {
    const row = whole.find((one) => one.key === result.key);
    if (!row || result.status === "retry") continue;
    const state = result.status === "repeated" ? "done" : result.status;
    await settle(row.key, state, result);
    if (state === "done") {
      count += 1;
      for (const name of attached(row.action)) await dropPhoto(name);
    }
  }
  changed();
  return count;
}

/** A batch that is refused whole goes one by one: what cannot be taken is marked, and stops no other. */
async function alone(rows, error) {
  if (!(error instanceof Refused) || ![400, 413, 422].includes(error.status)) throw error;
  if (rows.length === 1) {
    await settle(rows[0].key, "refused", { message: error.message });
    return 0;
  }
  let count = 0;
  for (const row of rows) count += await together([row]).catch((again) => alone([row], again));
  return count;
}

/** The keys of the bytes that belong to an action, as they are kept here. */
export const attached = (one) =>
  [...one.photos, ...one.voice, ...(one.signature ? [one.signature] : []), ...Object.values(one.given ?? {}).flat()].map((each) => each.key);

/** An action as the server reads it: bytes are named by their hash. */
function outgoing({ action: one }) {
  // `about` is for the person who reads the list.
  const { signature, given, about, ...plain } = one;
  const fields = { ...one.fields };
  if (signature) fields.signature = signature.sha256;
  if (given) fields.given = Object.fromEntries(Object.entries(given).map(([code, all]) => [code, all.map((each) => each.sha256)]));
  return {
    ...plain, fields,
    photos: one.photos.map(({ sha256, purpose }) => ({ key: sha256, ...(purpose ? { purpose } : {}) })),
    voice: one.voice.map(({ sha256 }) => sha256),
  };
}

/** See that the server has the bytes of an action; answers the refusal of one that it will never take, else null. */
async function photosOf(row) {
  for (const key of attached(row.action)) {
    const one = await photo(key);
    if (!one) continue;
    try {
      await upload(one);
    } catch (error) {
      if (error instanceof Refused && [413, 415, 422].includes(error.status)) return error;
      throw error;
    }
  }
  return null;
}

/** Send the bytes from where the server has them, in parts, so that a line that breaks costs one part. */
async function upload(one) {
  const asked = await api(`photos/${one.sha256}`, { method: "HEAD", takes: [404] });
  if (asked.status !== 404) return;
  let from = Number(asked.headers.get("Upload-Offset") ?? 0);
  for (let tries = 0; from < one.size && tries < 200; tries += 1) {
    const end = Math.min(one.size, from + PART);
    const headers = { "Content-Type": one.type || "application/octet-stream", "Upload-Offset": String(from), "Upload-Length": String(one.size) };
    const answer = await api(`photos/${one.sha256}`, { method: "PUT", body: one.blob.slice(from, end), headers, takes: [409], most_ms: 120000 });
    if (answer.status === 200 || answer.status === 201) return;
    from = answer.status === 409 ? Number(answer.headers.get("Upload-Offset") ?? 0) : (await answer.json()).offset;
  }
  throw new NoLine();
}

/** Take what was sent days ago out of the list. */
async function tidy() {
  for (const row of await queue()) {
    if (row.state === "done" && Date.now() - (row.settled ?? 0) > KEPT_DAYS * 86400000) await drop(row.key, attached(row.action));
  }
}

let timer = 0;
let pause_s = 5;

/** Send now and again later while something waits: soon at first, then at longer intervals up to five minutes. */
export async function sendSoon({ fresh = false } = {}) {
  clearTimeout(timer);
  if (fresh) pause_s = 5;
  const outcome = await send();
  if (["offline", "later", "busy"].includes(outcome.state)) {
    timer = setTimeout(sendSoon, pause_s * 1000 * (0.8 + Math.random() * 0.4));
    pause_s = Math.min(300, pause_s * 2);
  } else pause_s = 5;
  return outcome;
}
