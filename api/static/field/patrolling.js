// A patrol that the worker started: the track is kept on the phone, thinned, and sent in pieces. No position is kept before
// the start nor after the end.
import { action, changed, sendSoon } from "./queue.js";
import { apart, follow, lastKnown, thinned, whereAmI } from "./place.js";
import { clearTrack, enqueue, forget, keep, keepPoint, kept, newKey, track } from "./store.js";

/** A new point is kept this far from the last one, or after this long; fixes worse than this are left out. */
const STEP_M = 15;
const REST_MS = 120000;
const WORST_M = 60;
const PIECE = 120;
const TOLERANCE_M = 5;
let end = null;
let last = null;
const watching = new Set();

export const running = () => kept("run").then((run) => run ?? null);
export const onStep = (hear) => { watching.add(hear); return () => watching.delete(hear); };

export async function start(cell) {
  const run = { run: newKey(), cell, started: new Date().toISOString(), far: 0, points: 0 };
  await clearTrack();
  await keep("run", run);
  const position = await whereAmI(6000);
  await enqueue(action("patrol", { position, fields: { run: run.run, part: "start", ...(cell ? { cell } : {}), points: [] } }));
  changed();
  sendSoon({ fresh: true });
  await goOn();
}

/** Follow again after the browser was closed in the middle of a patrol. */
export async function goOn() {
  const run = await running();
  if (!run || end) return;
  last = null;
  end = follow((at) => step(run, at));
}

async function step(run, at) {
  watching.forEach((hear) => hear(at, run));
  const moved = last ? apart([last.lng, last.lat], [at.lng, at.lat]) : Infinity;
  const rested = last ? new Date(at.at) - new Date(last.at) : Infinity;
  if (at.accuracy > WORST_M || (moved < Math.max(STEP_M, at.accuracy / 2) && rested < REST_MS)) return;
  if (last && moved < 2000) run.far += moved;
  last = at;
  run.points += 1;
  await keepPoint([+at.lng.toFixed(6), +at.lat.toFixed(6), at.accuracy, at.at, 0]);
  await keep("run", run);
  if (run.points % PIECE === 0) await piece(run);
}

/** Put what was walked since the last piece into the queue. */
async function piece(run) {
  const points = thinned(await track(), TOLERANCE_M);
  if (!points.length) return;
  await enqueue(action("patrol", { fields: { run: run.run, part: "points", points: points.slice(0, 500) } }));
  await clearTrack();
  changed();
}

export async function stop() {
  const run = await running();
  end?.();
  end = null;
  if (!run) return;
  await piece(run);
  await enqueue(action("patrol", { position: lastKnown(), fields: { run: run.run, part: "stop", points: [] } }));
  await forget("run");
  changed();
  sendSoon({ fresh: true });
}

/** Stop following without ending the patrol: another worker takes the phone. */
export function halt() {
  end?.();
  end = null;
}

export async function checkIn(what, note) {
  const run = await running();
  const position = await whereAmI(15000);
  if (!position) return false;
  await enqueue(action("checkin", { position, fields: { ...(run ? { run: run.run } : {}), what, ...(note ? { note } : {}) } }));
  changed();
  sendSoon({ fresh: true });
  return true;
}
