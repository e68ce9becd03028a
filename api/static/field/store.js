// What the phone keeps: one small database of the phone, and one for each account, whose rows are sealed with the
// account's key. The key stays with the phone while the account is the one in use and goes when another signs in; it
// comes back with the account's next sign-in. Knows no screen and no address of the server.
import { openDB } from "../vendor/idb/index.js";

const PHONE = "wangge-field";
const text = new TextEncoder();
const read = new TextDecoder();
let phone = null;
let account = null;

function phoneBase() {
  phone ??= openDB(PHONE, 1, { upgrade: (base) => base.createObjectStore("kept") });
  return phone;
}

/** Open the database of an account. Versions only add: an older row is always readable. */
function accountBase(id) {
  return openDB(`${PHONE}-${id}`, 1, {
    upgrade(base) {
      const queue = base.createObjectStore("queue", { keyPath: "key" });
      queue.createIndex("seq", "seq");
      base.createObjectStore("photos", { keyPath: "key" });
      base.createObjectStore("drafts", { keyPath: "key" });
      base.createObjectStore("kept");
      base.createObjectStore("track", { autoIncrement: true });
    },
    // Another window wants a newer shape: give way, nothing is held open.
    blocking: (_old, _new, event) => event.target.close(),
  });
}

/** Read or write a value of the phone itself: settings, its name, whose it is. Nothing personal but the account's id. */
export const ofPhone = async (name) => (await phoneBase()).get("kept", name);
export const keepOnPhone = async (name, value) => (await phoneBase()).put("kept", value, name);

/** Say which account the phone is in use by: {id, name} or null. Opens its database when its key is still here. */
export async function whose() {
  if (account) return account.who;
  const who = await ofPhone("account");
  const key = who && (await ofPhone("key"));
  if (!who || !key) return null;
  account = { who, key, base: await accountBase(who.id) };
  return who;
}

/**
 * Take the phone into use by a worker who has just been found signed in. The key of whoever had it before is forgotten,
 * and with it every word and photo of theirs; what they had not sent waits, sealed, for their next sign-in.
 */
export async function takeOver(worker) {
  const before = await whose();
  if (before && before.id === worker.id) return;
  await leave();
  const raw = Uint8Array.from(atob(worker.key), (letter) => letter.charCodeAt(0));
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
  const who = { id: worker.id, name: worker.name };
  const base = await phoneBase();
  const change = base.transaction("kept", "readwrite");
  await Promise.all([change.store.put(who, "account"), change.store.put(key, "key"), change.done]);
  account = { who, key, base: await accountBase(who.id) };
  const left = (await ofPhone("accounts")) ?? [];
  if (!left.includes(who.id)) await keepOnPhone("accounts", [...left, who.id]);
}

/** Forget the key of the account in use. What it had not sent stays, sealed; what only shows others' data goes. */
export async function leave() {
  if (account) {
    await account.base.clear("kept");
    account.base.close();
    account = null;
  }
  const base = await phoneBase();
  const change = base.transaction("kept", "readwrite");
  await Promise.all([change.store.delete("account"), change.store.delete("key"), change.done]);
}

/** Forget what this context holds in memory: another window or the service worker has changed whose phone it is. */
export function forgetOpen() {
  account?.base.close();
  account = null;
}

async function sealBytes(bytes) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  return { iv, data: await crypto.subtle.encrypt({ name: "AES-GCM", iv }, account.key, bytes) };
}
const openBytes = (box) => crypto.subtle.decrypt({ name: "AES-GCM", iv: box.iv }, account.key, box.data);
const seal = (value) => sealBytes(text.encode(JSON.stringify(value)));
const open = async (box) => JSON.parse(read.decode(await openBytes(box)));

async function needed() {
  if (!(await whose())) throw new Error("nobody");
  return account.base;
}

// ---- kept values of the account -------------------------------------------------------------------------------------

export async function keep(name, value) {
  const base = await needed();
  await base.put("kept", await seal(value), name);
}
export async function kept(name) {
  const base = await needed();
  const box = await base.get("kept", name);
  return box ? open(box) : undefined;
}
/** Keep bytes as they are: the map of the cells tells nothing of anybody. */
export async function keepBlob(name, blob, tag) {
  await (await needed()).put("kept", { blob, tag }, name);
}
export const keptBlob = async (name) => (await needed()).get("kept", name);
export const forget = async (name) => (await needed()).delete("kept", name);

// ---- drafts and photos ----------------------------------------------------------------------------------------------

export async function keepDraft(key, value) {
  const base = await needed();
  const box = await seal(value);
  const change = base.transaction("drafts", "readwrite", { durability: "strict" });
  await Promise.all([change.store.put({ key, box }), change.done]);
}
export async function drafts() {
  const rows = await (await needed()).getAll("drafts");
  return Promise.all(rows.map(async (row) => ({ key: row.key, ...(await open(row.box)) })));
}
export async function draft(key) {
  const row = await (await needed()).get("drafts", key);
  return row ? { key, ...(await open(row.box)) } : null;
}

/** Keep a photo or a voice note, sealed, before anything else is done with it; a full phone gives it the room it held. */
export async function keepPhoto(key, blob) {
  const base = await needed();
  const bytes = await blob.arrayBuffer();
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  const sha256 = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const row = { key, type: blob.type, size: blob.size, sha256, box: await sealBytes(bytes) };
  const put = async () => {
    const change = base.transaction("photos", "readwrite", { durability: "strict" });
    await Promise.all([change.store.put(row), change.done]);
  };
  try {
    await put();
  } catch {
    await giveWay();
    // The browser counts what was given back a moment later.
    await new Promise((later) => setTimeout(later, 1000));
    await put();
  }
}
export async function photo(key) {
  const row = await (await needed()).get("photos", key);
  return row ? { ...row, blob: new Blob([await openBytes(row.box)], { type: row.type }) } : null;
}
export const dropPhoto = async (key) => (await needed()).delete("photos", key);
export const photoKeys = async () => (await needed()).getAllKeys("photos");

export async function dropDraft(key) {
  const found = await draft(key);
  const change = (await needed()).transaction(["drafts", "photos"], "readwrite");
  const bytes = [...(found?.photos ?? []), ...(found?.after ?? []), ...(found?.voice ?? [])];
  const gone = bytes.map((one) => change.objectStore("photos").delete(one.key));
  await Promise.all([change.objectStore("drafts").delete(key), ...gone, change.done]);
}

// ---- the queue ------------------------------------------------------------------------------------------------------

/** Put an action at the end of the queue and take its draft away, in one transaction: it is in one place or the other. */
export async function enqueue(action, from = null) {
  const base = await needed();
  const box = await seal(action);
  const change = base.transaction(["queue", "drafts"], "readwrite", { durability: "strict" });
  const last = await change.objectStore("queue").index("seq").openCursor(null, "prev");
  const row = { key: action.key, seq: (last?.value.seq ?? 0) + 1, state: "waiting", at: Date.now(), box };
  const work = [change.objectStore("queue").put(row)];
  if (from) work.push(change.objectStore("drafts").delete(from));
  await Promise.all([...work, change.done]);
}

/** Return the queue in order: {key, seq, state, at, action, told}; told: what the server said of it. */
export async function queue() {
  const rows = await (await needed()).getAllFromIndex("queue", "seq");
  return Promise.all(rows.map(async (row) => ({
    ...row, box: undefined, action: await open(row.box), told: row.told ? await open(row.told) : null,
  })));
}

/** Write down what became of an action. state: waiting, done, conflict, refused. */
export async function settle(key, state, told) {
  const base = await needed();
  const sealed = told ? await seal(told) : null;
  const change = base.transaction("queue", "readwrite");
  const row = await change.store.get(key);
  if (row) await change.store.put({ ...row, state, told: sealed, settled: Date.now() });
  await change.done;
}

/** Write an action anew under its key, before it was ever sent. */
export async function restate(key, action) {
  const base = await needed();
  const box = await seal(action);
  const change = base.transaction("queue", "readwrite");
  const row = await change.store.get(key);
  if (row) await change.store.put({ ...row, box });
  await change.done;
}

/** Put another action in the place of one that was refused or in conflict: same place in the order, another key. */
export async function replace(key, action) {
  const base = await needed();
  const box = await seal(action);
  const change = base.transaction("queue", "readwrite");
  const row = await change.store.get(key);
  if (row) {
    await change.store.delete(key);
    await change.store.put({ key: action.key, seq: row.seq, state: "waiting", at: row.at, box });
  }
  await change.done;
}

/** Take an action out of the queue with its photos. */
export async function drop(key, photos = []) {
  const change = (await needed()).transaction(["queue", "photos"], "readwrite");
  const gone = photos.map((one) => change.objectStore("photos").delete(one));
  await Promise.all([change.objectStore("queue").delete(key), ...gone, change.done]);
}

/** Say how many actions wait, of this account and, sealed, of others who used this phone. */
export async function waiting() {
  const rows = await (await needed()).getAll("queue");
  return rows.filter((row) => row.state !== "done").length;
}

// ---- the track of a patrol ------------------------------------------------------------------------------------------

export async function keepPoint(point) {
  const base = await needed();
  await base.add("track", await seal(point));
}
export async function track() {
  const boxes = await (await needed()).getAll("track");
  return Promise.all(boxes.map(open));
}
export const clearTrack = async () => (await needed()).clear("track");

// ---- room -----------------------------------------------------------------------------------------------------------

/** Ask that the browser does not clear what is kept when the phone runs short. */
export const persist = async () => navigator.storage?.persist?.() ?? false;

/** Bytes that are kept free for a photo that is already taken: one of a good camera, sealed. */
const RESERVE = 10e6;
/** What must be free besides, where the browser tells the truth about it. */
const LEAST = 16e6;
let tried = 0;

/**
 * Say whether a photo would find room, and see that it does: a file of that size lies there and gives way to it. Browsers
 * do not tell how much is free (some always say 10 GB), so the room is held rather than asked for. A full phone is tried
 * again once a minute.
 */
export async function enough() {
  const base = await phoneBase();
  const told = await navigator.storage?.estimate?.().catch(() => null);
  if (told?.quota && told.quota - told.usage < LEAST) return false;
  if (await base.count("kept", "reserve")) return true;
  if (Date.now() - tried < 60000) return false;
  tried = Date.now();
  try {
    await base.put("kept", new Blob([new Uint8Array(RESERVE)]), "reserve");
    return true;
  } catch {
    return false;
  }
}

/** Give the held room to a photo that found none. */
async function giveWay() {
  tried = Date.now();
  await (await phoneBase()).delete("kept", "reserve");
}

/** Return how many bytes this page keeps on the phone; null where the browser does not tell. */
export async function used() {
  return (await navigator.storage?.estimate?.().catch(() => null))?.usage ?? null;
}

/** UUID version 7 (RFC 9562): time first, so that keys of a phone come in order, then 74 random bits. */
export function newKey(now = Date.now()) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let i = 0; i < 6; i += 1) bytes[i] = Math.floor(now / 2 ** (8 * (5 - i))) & 0xff;
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
