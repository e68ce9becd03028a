// The worker's phone: starts from what is kept, shows a screen per address (#/…), sends what waits, and says how it goes.
import { forgetBundle, refresh, refreshMap } from "./bundle.js";
import { NoLine, Refused, rememberClock, session, SignIn } from "./link.js";
import { goOn, halt } from "./patrolling.js";
import { onNews, sendSoon } from "./queue.js";
import { enough, keepDraft, keepOnPhone, newKey, ofPhone, persist, takeOver, waiting, whose } from "./store.js";
import { h, icon, notice } from "./ui.js";
import { language, speak, t } from "./words.js";

const SCREENS = {
  today: () => import("./today.js").then((m) => m.show),
  map: () => import("./patrol.js").then((m) => m.showMap),
  report: () => import("./report.js").then((m) => m.show),
  task: () => import("./task.js").then((m) => m.show),
  outbox: () => import("./outbox.js").then((m) => m.show),
  patrol: () => import("./patrol.js").then((m) => m.show),
  visits: () => import("./visit.js").then((m) => m.show),
  visit: () => import("./visit.js").then((m) => m.showOne),
  household: () => import("./visit.js").then((m) => m.showOne),
  door: () => import("./visit.js").then((m) => m.showDoor),
  learn: () => import("./learn.js").then((m) => m.show),
  cards: () => import("./learn.js").then((m) => m.showCards),
  quiz: () => import("./learn.js").then((m) => m.showQuiz),
  more: () => import("./more.js").then((m) => m.show),
};
const CHOICES = { lang: ["zh", "en"], type: ["normal", "large"], theme: ["auto", "light", "dark", "sun"] };
/** Screens that draw themselves anew when the queue or the bundle changed; forms are left alone. */
const LIVE = new Set(["today", "outbox", "learn"]);
const FRESH_MS = 120000;

const main = document.getElementById("main");
const state = { settings: {}, outcome: null, end: null, drawn: 0, screen: "", asked: 0, syncing: false };

async function start() {
  await readSettings();
  await Promise.all([speak(state.settings.lang), rememberClock()]);
  frame();
  await whose();
  addEventListener("hashchange", draw);
  onNews(heard);
  await draw();
  document.documentElement.dataset.ready = "yes";
  performance.mark("ready");
  serve();
  addEventListener("online", () => sync({ fresh: true }));
  document.addEventListener("visibilitychange", () => { if (!document.hidden && Date.now() - state.asked > 15000) sync({ fresh: true }); });
  setInterval(() => { if (!document.hidden && Date.now() - state.asked > FRESH_MS) sync(); }, 30000);
  await sync();
  if (await whose()) await goOn();
}

async function readSettings() {
  const kept = (await ofPhone("settings")) ?? {};
  const asked = new URLSearchParams(location.search);
  for (const [name, values] of Object.entries(CHOICES)) {
    state.settings[name] = [asked.get(name), kept[name], values[0]].find((one) => values.includes(one));
  }
  if ([...asked.keys()].some((name) => name in CHOICES)) await keepOnPhone("settings", state.settings);
  show();
}

function show() {
  const { type, theme } = state.settings;
  Object.assign(document.documentElement.dataset, { type, theme: theme === "sun" ? "light" : theme, sun: theme === "sun" ? "yes" : "no" });
}

async function set(name, value) {
  state.settings[name] = value;
  await keepOnPhone("settings", state.settings);
  show();
  if (name === "lang") {
    await speak(value);
    frame();
    sync();
  }
  await draw();
}

/** Find out who is signed in, take what is new, and send what waits. Every way it can go ends in words on the screen. */
async function sync({ fresh = false } = {}) {
  if (state.syncing) return;
  state.asked = Date.now();
  state.syncing = true;
  try {
    const { worker } = await session();
    const who = await whose();
    if (worker && !worker.may) {
      state.outcome = { state: "role" };
    } else if (worker && who?.id !== worker.id) {
      halt();
      await takeOver(worker);
      forgetBundle();
      navigator.serviceWorker?.controller?.postMessage("account");
      await draw();
    }
    if (worker?.may) {
      await sendSoon({ fresh });
      await refresh();
      await refreshMap();
      if (LIVE.has(state.screen)) await draw({ quiet: true });
    } else if (!worker) state.outcome = { state: "signin" };
  } catch (error) {
    unheard(error);
  } finally {
    state.syncing = false;
  }
  await line();
  if (!(await whose())) await draw({ quiet: true });
}

/** Take down why the server was not heard; anything else is a fault of ours. */
function unheard(error) {
  if (error instanceof SignIn) state.outcome = { state: "signin" };
  else if (error instanceof NoLine) state.outcome = { state: "offline" };
  else if (!(error instanceof Refused)) throw error;
}

async function heard(news) {
  if (news.what === "sent") state.outcome = news;
  if (news.what === "sent" && news.sent && !state.syncing) await refresh().catch(unheard);
  await line();
  if (LIVE.has(state.screen)) await draw({ quiet: true });
}

/** What stands around every screen: its title and the line's state above, the five ways below. */
function frame() {
  const ways = [["today", t("Today")], ["map", t("Map")], ["report", t("Report")], ["outbox", t("Outbox")], ["more", t("More")]];
  const camera = h("input", { type: "file", accept: "image/*", capture: "environment", class: "sr", id: "camera", click: guard, change: taken });
  document.getElementById("ways").replaceChildren(...ways.map(([name, word]) => (name === "report"
    ? h("label", { class: "shoot" }, icon("camera"), h("span", {}, word), camera)
    : h("a", { href: `#/${name}`, "data-way": name }, icon(name), h("span", {}, word), name === "outbox" ? h("b", { class: "badge", hidden: true }) : ""))));
  document.getElementById("ways").setAttribute("aria-label", t("Main navigation"));
  const about = document.querySelector("[data-fictional]");
  if (about) about.textContent = about.dataset.fictional === "all" ? t("Fictional sample district") : t("Demonstration data, joined artificially");
  line();
}

/** Before the camera opens: is there room for what it will give? Said now, not after the photo is taken. */
let roomy = true;
function guard(event) {
  if (roomy) return;
  event.preventDefault();
  location.hash = "#/today";
  draw();
}
async function look() {
  roomy = await enough();
}

async function taken(event) {
  const input = event.target;
  if (!(await whose()) || !input.files.length) return;
  const { begin } = await import("./report.js");
  const to = await begin([...input.files]);
  input.value = "";
  if (to) location.hash = to;
  look();
}

/** The state of the line and of the queue, always in sight. */
async function line() {
  const who = await whose();
  const left = who ? await waiting() : 0;
  const badge = document.querySelector(".badge");
  badge.hidden = !left;
  badge.textContent = left > 99 ? "99+" : String(left);
  badge.setAttribute("aria-label", t("{n} waiting", { n: left }));
  const chip = document.getElementById("line");
  const how = !who || ["signin", "other"].includes(state.outcome?.state) ? "signin" : state.outcome?.state === "offline" ? "offline" : left ? "later" : "done";
  chip.textContent = { signin: t("Sign in"), offline: t("No line"), later: t("{n} waiting", { n: left }), done: t("All sent") }[how];
  chip.className = `line-${how}`;
  chip.setAttribute("href", how === "signin" ? "/login?next=/field" : "#/outbox");
  look();
}

/** Draw the screen of the address. quiet: keep the place on the page, say nothing. */
async function draw({ quiet = false } = {}) {
  const [, name = "today", ...parts] = (location.hash || "#/today").split("/");
  const turn = state.drawn += 1;
  if (!(await whose())) return welcome();
  if (name === "new") {
    const key = newKey();
    await keepDraft(key, { what: "report", photos: [], voice: [], at: new Date().toISOString() });
    location.replace(`#/report/${key}`);
    return undefined;
  }
  const screen = SCREENS[name] ? name : "today";
  const paint = await SCREENS[screen]();
  if (turn !== state.drawn) return undefined;
  const before = state.end;
  const fresh = h("div", {});
  const again = () => draw({ quiet: true });
  const shown = await paint(fresh, parts.map(decodeURIComponent), { outcome: state.outcome, settings: state.settings, set, again, screen, go: (to) => { location.hash = to; } });
  if (turn !== state.drawn) {
    shown?.end?.();
    return undefined;
  }
  const at = scrollY;
  before?.();
  state.end = shown?.end ?? null;
  state.screen = screen;
  main.replaceChildren(fresh);
  const title = document.getElementById("title");
  title.textContent = shown?.title ?? "";
  title.className = shown?.data ? "title" : "";
  document.title = `${shown?.data ? t("Task") : title.textContent} · ${t("Wangge")}`;
  const back = document.getElementById("back");
  back.hidden = ["today", "map", "outbox", "more"].includes(screen);
  back.setAttribute("aria-label", t("Back"));
  if (!back.firstChild) back.append(icon("back"));
  for (const way of document.querySelectorAll("[data-way]")) way.toggleAttribute("aria-current", way.dataset.way === screen);
  if (quiet) scrollTo(0, at);
  else {
    scrollTo(0, 0);
    title.focus({ preventScroll: true });
  }
  return undefined;
}

/** Nobody uses this phone yet, or it was handed over. */
function welcome() {
  state.end?.();
  state.end = null;
  state.screen = "welcome";
  document.getElementById("title").textContent = t("Grid worker's phone");
  document.title = `${t("Grid worker's phone")} · ${t("Wangge")}`;
  const role = state.outcome?.state === "role";
  main.replaceChildren(h("div", { class: "welcome" },
    role ? notice("warn", h("p", {}, t("This account is no grid worker's. Sign in with a grid worker's account."))) : "",
    h("p", { class: "lead" }, t("Sign in once with a line. After that the whole day works without one.")),
    h("a", { class: "button primary large", href: "/login?next=/field" }, t("Sign in")),
    h("p", { class: "hint" }, t("What somebody else left on this phone stays locked until they sign in again.")),
    h("div", { class: "choices" }, ["zh", "en"].map((one) => h("button", { type: "button", lang: one === "zh" ? "zh-Hans" : "en", "aria-pressed": String(language() === one), click: () => set("lang", one) }, one === "zh" ? "中文" : "English")))));
}

/** Let the service worker keep the files; a newer one waits until the person takes it, unless nothing is open. */
async function serve() {
  if (!("serviceWorker" in navigator)) return;
  const had = Boolean(navigator.serviceWorker.controller);
  navigator.serviceWorker.addEventListener("controllerchange", () => { if (had) location.reload(); });
  try {
    const kept = await navigator.serviceWorker.register("/field/sw.js", { scope: "/field", type: "module", updateViaCache: "none" });
    const offer = (worker) => worker?.addEventListener("statechange", () => { if (worker.state === "installed" && had) update(worker); });
    if (kept.waiting && had) update(kept.waiting);
    kept.addEventListener("updatefound", () => offer(kept.installing));
    const ready = await navigator.serviceWorker.ready;
    document.documentElement.dataset.kept = "yes";
    await ready.sync?.register("queue").catch(() => {});
    await persist();
  } catch (error) {
    // Without a line the old one goes on serving.
    console.info("no update of the service worker", error);
  }
}

function update(worker) {
  const box = document.getElementById("update");
  box.hidden = false;
  box.replaceChildren(t("A newer version is ready. What waits is kept."), h("button", { type: "button", click: () => worker.postMessage("take over") }, t("Take it")));
}

document.getElementById("back").addEventListener("click", () => (history.length > 1 ? history.back() : (location.hash = "#/today")));
start();
