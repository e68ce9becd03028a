// The line to the server: who is signed in, what time it is there, and every request with a limit to its waiting.
import { keepOnPhone, ofPhone } from "./store.js";
import { language } from "./words.js";

/** The line is down or the server does not answer. */
export class NoLine extends Error {}
/** Somebody has to sign in again; what waits is kept. */
export class SignIn extends Error {}
/** The server refused; status and its words. */
export class Refused extends Error {
  constructor(status, words, told) {
    super(words);
    this.status = status;
    this.told = told;
  }
}

let token = "";
let offset = null;

/** What the phone's clock is ahead of the server's, in milliseconds, as last found out. */
export const ahead = () => offset ?? 0;
/** The same in whole seconds; null where no server was heard yet. */
export const ahead_s = () => (offset === null ? null : Math.round(offset / 1000));
/** The time, by the server's clock as far as it is known. */
export const now = () => new Date(Date.now() - ahead());
export async function rememberClock() {
  offset = (await ofPhone("offset")) ?? null;
}
async function learnClock(server_time, sent) {
  const middle = (sent + Date.now()) / 2;
  const found = middle - new Date(server_time).getTime();
  // A slow answer says less than the seconds that it took.
  offset = Math.abs(found) < 3000 ? 0 : found;
  await keepOnPhone("offset", offset);
}

/** Ask an address; answers a Response of any status. Throws NoLine. */
export async function ask(address, { most_ms = 30000, ...given } = {}) {
  const end = new AbortController();
  const timer = setTimeout(() => end.abort(), most_ms);
  try {
    return await fetch(address, { credentials: "same-origin", cache: "no-store", signal: end.signal, ...given });
  } catch {
    throw new NoLine();
  } finally {
    clearTimeout(timer);
  }
}

/** Return who is signed in on this phone, {worker, version}, and learn the token and the clock. Throws NoLine. */
export async function session() {
  const sent = Date.now();
  const answer = await ask(`/field/session?lang=${language()}`, { most_ms: 15000 });
  if (!answer.ok) throw new NoLine();
  const told = await answer.json().catch(() => { throw new NoLine(); });
  token = told.csrf;
  await learnClock(told.server_time, sent);
  return told;
}

/** Ask the API of the worker's phone. Answers the Response of a success; throws NoLine, SignIn, Refused. */
export async function api(path, given = {}) {
  const unsafe = given.method && !["GET", "HEAD"].includes(given.method);
  const headers = { Accept: "application/json", ...given.headers, ...(unsafe ? { "X-CSRF-Token": token } : {}) };
  const answer = await ask(`/api/v1/field/${path}`, { ...given, headers });
  if (answer.ok || given.takes?.includes(answer.status)) return answer;
  if (answer.status === 401) throw new SignIn();
  if (answer.status >= 500 || answer.status === 429 || answer.status === 408) throw new NoLine();
  const told = await answer.json().catch(() => ({}));
  throw new Refused(answer.status, told.detail ?? "", told);
}
