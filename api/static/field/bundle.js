// What the server sent for a day and more without a line: cells, tasks, matters near, plan, visits, cards. Kept sealed.
import { api, now } from "./link.js";
import { keep, keepBlob, kept, keptBlob } from "./store.js";
import { language } from "./words.js";

const BLANK = {
  cursor: "", worker: null, cells: null, tasks: [], near: [], categories: [], recent_near: [], plan: [], visits: [],
  visit_kinds: { results: [], kinds: [] }, households: [], cards: [], quizzes: [], certificates: [], items: [], notices: [],
};
let current = null;

/** Return the bundle as it was last received; `at` is null where there has been none. */
export async function bundle() {
  current ??= { ...BLANK, at: null, ...(await kept("bundle")) };
  return current;
}
export function forgetBundle() {
  current = null;
}

/** Fetch what changed and keep it. Throws as `api` does. */
export async function refresh() {
  const before = await bundle();
  const since = before.cursor && before.language === language() ? `&since=${encodeURIComponent(before.cursor)}` : "";
  const told = await (await api(`bundle?lang=${language()}${since}`, { most_ms: 60000 })).json();
  const base = told.full ? { ...BLANK } : before;
  const made = { ...base, language: language(), at: now().toISOString(), cursor: told.cursor, worker: told.worker ?? base.worker, notices: told.notices ?? [] };
  for (const name of Object.keys(BLANK)) {
    if (["cursor", "worker", "notices", "tasks", "near"].includes(name)) continue;
    if (told[name] !== null && told[name] !== undefined) made[name] = told[name];
  }
  made.tasks = merged(base.tasks, told.tasks, told.task_ids);
  made.near = merged(base.near, told.near, told.near_ids);
  current = made;
  await keep("bundle", made);
  return made;
}

function merged(before, came, ids) {
  const all = new Map([...before, ...(came ?? [])].map((one) => [one.id, one]));
  return (ids ?? [...all.keys()]).map((id) => all.get(id)).filter(Boolean);
}

/** Put a case as the server now has it in the place of the one that is kept; null takes it away. */
export async function learn(id, task) {
  const all = await bundle();
  const tasks = all.tasks.filter((one) => one.id !== id);
  current = { ...all, tasks: task ? [...tasks, task] : tasks };
  await keep("bundle", current);
}

/** Fetch the map of the cells when it changed. Returns whether there is one. */
export async function refreshMap() {
  const before = await keptBlob("map");
  const answer = await api("pack", { headers: before?.tag ? { "If-None-Match": before.tag } : {}, takes: [304, 404], most_ms: 180000 });
  if (answer.status !== 200) return Boolean(before);
  await keepBlob("map", await answer.blob(), answer.headers.get("ETag") ?? "");
  return true;
}
