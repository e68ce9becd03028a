// What there is to do today: unfinished reports, the walk, tasks in the order of the way, and visits that are due.
import { bundle } from "./bundle.js";
import { now } from "./link.js";
import { drafts, dropDraft, enough, queue } from "./store.js";
import { running } from "./patrolling.js";
import { apart, lastKnown, route, whereAmI } from "./place.js";
import { button, due, empty, h, icon, leaf, link, metres, named, notice, sure, when } from "./ui.js";
import { t } from "./words.js";

/** Tasks that are drawn at once: a slow phone needs a second for two hundred. */
const MOST = 40;

export async function show(main) {
  const [all, left, rows, run, space] = await Promise.all([bundle(), drafts(), queue(), running(), enough()]);
  const sent = new Map(rows.filter((row) => row.state !== "done" && row.action.case).map((row) => [row.action.case, row]));
  if (!space) main.append(full());
  for (const one of all.notices) main.append(notice("warn", h("p", { class: "said" }, one.text)));
  if (!all.at) main.append(notice("warn", h("p", {}, h("strong", {}, t("Your tasks are not on this phone yet."))), h("p", {}, t("They come with the next line. Reports can be taken already."))));
  for (const one of left.filter((each) => each.what === "report")) main.append(unfinished(one));
  main.append(h("section", { class: "quickly" },
    link([icon("walk"), run ? t("Patrol is on") : t("Start a patrol")], "#/patrol", run ? { class: "button on" } : {}),
    link(t("Visits ({n})", { n: all.visits.length }), "#/visits"),
    link(t("Report without a photo"), "#/new")));
  const list = h("ol", { class: "tasks" });
  const head = h("h2", {}, t("To do ({n})", { n: all.tasks.length }));
  main.append(head, list);
  if (!all.tasks.length) list.replaceWith(empty(t("Nothing to do here."), t("What you find on your way is reported with the button below.")));
  else {
    let most = MOST;
    const draw = (from) => {
      const rows = inOrder(all.tasks, from, sent).slice(0, most).map((one, i) => task(one, sent.get(one.id), i + 1));
      const rest = all.tasks.length - rows.length;
      list.replaceChildren(...rows, rest > 0 ? h("li", {}, button(t("Show {n} more", { n: rest }), () => { most = Infinity; draw(lastKnown()); })) : "");
    };
    draw(lastKnown());
    if (!lastKnown()) whereAmI(8000).then((at) => at && list.isConnected && draw(at));
  }
  if (all.plan.length) main.append(h("h2", {}, t("My cells")), h("ul", { class: "cells" }, all.plan.map((one) => cell(one, all))));
  if (all.at) main.append(h("p", { class: "hint" }, t("As of {time}", { time: when(all.at, now()) })));
  return { title: t("Today") };
}

/** Tasks in the order of the walk, those that wait to be sent last; `far` from where one stands. */
export function inOrder(tasks, from, sent = new Map()) {
  const placed = tasks.filter((one) => one.lng !== null && one.lng !== undefined && !sent.has(one.id));
  const others = tasks.filter((one) => !placed.includes(one)).map((one) => ({ ...one, far: null }));
  if (!from) return [...placed.sort((a, b) => String(a.due_at ?? "~").localeCompare(String(b.due_at ?? "~"))), ...others];
  const here = [from.lng, from.lat];
  return [...route(here, placed.map((one) => [one.lng, one.lat])).map((i) => ({ ...placed[i], far: apart(here, [placed[i].lng, placed[i].lat]) })), ...others];
}

function task(one, waits, number) {
  const look = one.duty === "look";
  return h("li", {}, h("a", { href: `#/task/${one.id}` },
    h("strong", {}, h("span", { class: "nr" }, String(number)), h("span", { class: "title" }, named(one))),
    h("span", { class: "line" }, h("span", { class: `tag ${look ? "look" : ""}` }, look ? t("Look again") : one.state_label),
      typeof one.far === "number" ? h("span", { class: "far" }, metres(one.far)) : null, waits ? null : due(one.due_at, one.received_at, now())),
    waits ? h("span", { class: "waits" }, t("Your answer waits to be sent")) : null,
    h("span", { class: "muted title" }, [leaf(one.category_name), one.place_name].filter(Boolean).join(" · "))));
}

function cell(one, all) {
  const about = all.cells?.features.find((each) => each.properties.code === one.cell)?.properties;
  const share = Math.round((one.coverage?.share ?? 0) * 100);
  return h("li", { class: "card" }, h("p", {}, h("strong", { class: "title" }, `${about?.community_name ?? ""} ${about?.name ?? one.cell}`), " ",
    h("span", { class: "muted" }, one.last_patrol ? t("last patrol {time}", { time: when(one.last_patrol, now()) }) : t("no patrol yet"))),
    h("p", {}, h("meter", { min: 0, max: 100, low: 40, high: 70, optimum: 100, value: share, "aria-label": t("Walked in seven days") }), " ",
      t("{n} % walked in seven days", { n: share })));
}

function unfinished(one) {
  return notice("warn", h("p", {}, h("strong", {}, t("A report is unfinished (photos: {n}).", { n: one.photos.length }))),
    h("div", { class: "pair" }, link(t("Go on"), `#/report/${one.key}`, { class: "button primary" }),
      button(t("Throw away"), async (event) => {
        if (!(await sure(t("Throw the report and its photos away?"), t("Throw away")))) return;
        await dropDraft(one.key);
        event.target.closest(".notice").remove();
      })));
}

/** What is said before a photo is taken that would find no room. */
export function full() {
  return notice("bad", h("p", {}, h("strong", {}, t("The phone's storage is nearly full."))),
    h("p", {}, t("No photo can be kept now. Send what waits, or delete films and programs, then try again. A report without a photo still works.")),
    h("div", { class: "pair" }, link(t("See what waits"), "#/outbox"), link(t("Report without a photo"), "#/new")));
}
