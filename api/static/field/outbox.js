// What waits: every action that is not with the server yet, with what is the matter in plain words and what can be done.
import { bundle } from "./bundle.js";
import { form } from "./form.js";
import { now } from "./link.js";
import { attached, changed, sendSoon, withHolds } from "./queue.js";
import { drop, newKey, photo, queue, replace, used } from "./store.js";
import { button, bytes, empty, h, link, notice, sure, when } from "./ui.js";
import { t } from "./words.js";

export const KINDS = {
  report: () => t("Report"), step: () => t("Task answered"), same: () => t("Added to a matter"), visit: () => t("Household visit"),
  patrol: () => t("Patrol track"), checkin: () => t("Check-in"), apply: () => t("Application"), quiz: () => t("Quiz"),
};

/** Say in plain words how it stands with a row. */
export function stands(row, outcome) {
  if (row.state === "done") return t("Sent to the server");
  if (row.state === "conflict") return t("Somebody was faster: decide");
  if (row.state === "refused") return t("Not taken: correct it or drop it");
  if (row.held) return t("Waits for the one before it");
  if (outcome?.state === "signin") return t("Waits until you sign in");
  if (outcome?.state === "other") return t("Waits until you sign in");
  if (outcome?.state === "offline") return t("Waits for a line");
  return t("Waits to be sent");
}

export async function show(main, _parts, { outcome }) {
  const rows = withHolds(await queue());
  const open = rows.filter((row) => row.state !== "done");
  const sent = rows.filter((row) => row.state === "done").reverse();
  const press = h("button", { type: "button", class: "primary large", click: async () => {
    press.disabled = true;
    await sendSoon({ fresh: true });
    press.disabled = false;
  } }, t("Send now"));
  if (["signin", "other"].includes(outcome?.state) && open.length) {
    main.append(notice("warn", h("p", {}, h("strong", {}, t("Please sign in again."))), h("p", {}, t("Everything is kept. After signing in it is sent by itself.")),
      h("a", { class: "button primary", href: "/login?next=/field" }, t("Sign in"))));
  } else if (outcome?.state === "offline" && open.length) main.append(notice("warn", h("p", {}, t("No line. Everything is kept and sent by itself when one is back."))));
  main.append(h("p", { class: "lead", role: "status" }, open.length ? t("{n} waiting", { n: open.length }) : t("Everything is sent")));
  if (open.length) main.append(press, h("ol", { class: "outbox" }, await Promise.all(open.map((row) => drawn(row, outcome)))));
  else main.append(empty(t("Nothing waits."), t("What you report stands here until the server has it.")));
  if (sent.length) main.append(h("details", { class: "card" }, h("summary", {}, t("Sent in the last days ({n})", { n: sent.length })), h("ol", { class: "outbox" }, sent.slice(0, 100).map(done))));
  const much = await used();
  if (much !== null) main.append(h("p", { class: "hint" }, t("{used} kept on this phone", { used: bytes(much) })));
  return { title: t("Outbox") };
}

function done(row) {
  return h("li", {}, h("p", {}, h("strong", { class: "title" }, row.action.about || KINDS[row.action.kind]()), " ", h("span", { class: "muted" }, when(row.action.happened_at, new Date()))),
    h("p", { class: "muted" }, row.told?.number ? t("Sent · number {number}", { number: row.told.number }) : t("Sent to the server")),
    (row.told?.notes ?? []).map((note) => h("p", { class: "hint said" }, note)));
}

async function drawn(row, outcome) {
  const one = row.action;
  const photos = attached(one).length;
  return h("li", { class: row.state, "data-key": row.key },
    h("p", {}, h("strong", {}, KINDS[one.kind]()), " ", h("span", { class: "title" }, one.about ?? "")),
    h("p", { class: "muted" }, when(one.happened_at, new Date()), photos ? ` · ${t("photos and notes: {n}", { n: photos })}` : ""),
    h("p", { class: "state" }, stands(row, outcome)),
    row.told?.message && row.state !== "waiting" ? h("p", { class: "said" }, row.told.message) : "",
    row.state === "conflict" ? await beside(row) : "",
    row.state === "refused" ? correct(row) : "");
}

/** The server's change beside mine, and what can be done. */
async function beside(row) {
  const one = row.action;
  const theirs = row.told?.server;
  const log = theirs?.log?.at(-1);
  const values = Object.entries(one.fields).filter(([name]) => name !== "action");
  const offered = theirs?.steps?.some((step) => step.action === one.fields.action);
  return h("div", { class: "beside" },
    h("div", { class: "card" }, h("h2", {}, t("Now, on the server")), theirs
      ? [h("p", {}, h("span", { class: "tag" }, theirs.state_label)), log ? h("p", { class: "said" }, [log.action, log.by, log.text].filter(Boolean).join(" · ")) : ""]
      : h("p", {}, t("It is no longer with you."))),
    h("div", { class: "card" }, h("h2", {}, t("Mine")), values.map(([, value]) => h("p", { class: "said" }, String(value))), await pictures(one)),
    h("div", { class: "pair" },
      theirs && (offered || one.kind !== "step") ? button(t("Keep mine on top"), () => again(row, { base_version: theirs.version, of: null }), { class: "primary" }) : "",
      theirs ? link(t("Open it as it is now"), `#/task/${theirs.id}`) : "",
      button(t("Drop mine"), () => away(row), { class: "danger" })));
}

async function pictures(one) {
  const found = await Promise.all(one.photos.slice(0, 4).map((each) => photo(each.key)));
  return h("ul", { class: "strip" }, found.filter(Boolean).map((each) => h("li", {}, h("img", { src: URL.createObjectURL(each.blob), alt: t("Photo") }))));
}

/** A refused action with its own words to change; whatever else it says stays. */
function correct(row) {
  const one = row.action;
  const texts = ["text", "note", "done", "reason", "answer"].filter((name) => name in one.fields || name === row.told?.field);
  const labels = { text: t("In words"), note: t("Note"), done: t("What was done"), reason: t("Reason"), answer: t("Answer") };
  const fields = texts.map((name) => ({ name, kind: "long", label: labels[name], needed: false }));
  const wantsCategory = one.kind === "report";
  const body = h("details", {}, h("summary", {}, t("Correct it")));
  bundle().then((all) => {
    if (wantsCategory) fields.unshift({ name: "category", kind: "category", label: t("Category"), needed: true });
    const made = form(fields, { values: one.fields, categories: all.categories });
    const fresh = row.told?.field === "happened_at" ? { happened_at: null } : {};
    body.append(...made.nodes, button(t("Send again"), () => again(row, { ...fresh, fields: { ...one.fields, ...made.read().fields } }), { class: "primary" }));
  });
  return h("div", {}, body, button(t("Drop it"), () => away(row), { class: "danger" }));
}

async function again(row, change) {
  await replace(row.key, { ...row.action, ...change, key: newKey(now().getTime()) });
  changed();
  sendSoon({ fresh: true });
}

async function away(row) {
  if (!(await sure(t("Drop this with its photos? It was not taken by the server."), t("Drop")))) return;
  await drop(row.key, attached(row.action));
  changed();
}
