// One task: what it is, and the steps that the server's table offers, drawn from the bundle and from nothing else.
import { bundle } from "./bundle.js";
import { form, Missing } from "./form.js";
import { now } from "./link.js";
import { action } from "./queue.js";
import { makeMap, standing } from "./map.js";
import { apart, lastKnown, whereAmI } from "./place.js";
import { enqueue, queue } from "./store.js";
import { left } from "./report.js";
import { due, h, icon, leaf, link, metres, named, notice, when } from "./ui.js";
import { t } from "./words.js";

const PURPOSES = { before: () => t("Photo before"), after: () => t("Photo after"), evidence: () => t("Photo"), report: () => t("Photo") };

export async function show(main, [id]) {
  const all = await bundle();
  const one = all.tasks.find((each) => each.id === id);
  if (!one) {
    main.append(notice("warn", h("p", {}, t("This task is no longer with you."))), link(t("Today"), "#/today"));
    return { title: t("Task") };
  }
  const mine = (await queue()).filter((row) => row.action.case === id && row.state !== "done");
  main.append(h("p", { class: "line" }, h("span", { class: "tag" }, one.state_label), due(one.due_at, one.received_at, now()), h("span", { class: "muted" }, one.number)),
    h("p", { class: "said words" }, one.text),
    mine.length ? notice("warn", h("p", {}, t("{n} of your answers wait to be sent; the next one builds on them.", { n: mine.length })), link(t("See what waits"), "#/outbox")) : "",
    h("section", { class: "steps" }, [...one.steps].sort((a, b) => rank(a) - rank(b)).map((step) => drawStep(step, one, all, mine.at(-1)))));
  const box = h("div", { class: "map small" });
  const far = lastKnown() && one.lng !== null ? metres(apart([lastKnown().lng, lastKnown().lat], [one.lng, one.lat])) : "";
  main.append(h("h2", {}, t("Where it is")), h("p", {}, h("span", { class: "title" }, one.place_name || t("No address")), far && ` · ${far}`));
  let drawn = null;
  if (one.lng !== null && one.lng !== undefined) {
    main.append(box);
    drawn = makeMap(box, { cells: all.cells }).then((map) => {
      const { L } = map;
      L.marker([one.lat, one.lng], { icon: L.divIcon({ className: "pin", html: icon("pin").outerHTML, iconSize: [48, 48], iconAnchor: [24, 44] }), interactive: false, keyboard: false }).addTo(map.map);
      if (one.radius_m > 20) L.circle([one.lat, one.lng], { radius: one.radius_m, weight: 1, interactive: false }).addTo(map.map);
      map.map.setView([one.lat, one.lng], 17, { animate: false });
      if (lastKnown()) standing(L, map.map)(lastKnown());
      return map;
    });
  }
  if (one.photos.length) main.append(h("h2", {}, t("Photos")), h("ul", { class: "strip" }, one.photos.map((address) => h("li", {}, h("img", { src: address, loading: "lazy", alt: t("Photo of the report"), error: (event) => event.target.replaceWith(h("span", { class: "nopicture" }, t("With a line"))) })))));
  if (one.voices?.length) main.append(h("h2", {}, t("Voice notes")), one.voices.map((address) => h("audio", { src: address, controls: true, preload: "none" })));
  if (one.log.length) main.append(h("details", { class: "card" }, h("summary", {}, t("What happened ({n})", { n: one.log.length })), h("ol", { class: "log" }, one.log.map((each) =>
    h("li", {}, h("strong", { class: "title" }, each.action), " ", h("span", { class: "muted title" }, `${each.by ?? ""} · ${when(each.happened_at, now())}`), each.text ? h("p", { class: "said" }, each.text) : "")))));
  return { title: leaf(one.category_name) || one.number, data: true, end: () => drawn?.then((map) => map.end()) };
}

/** The way forward first, what cannot be taken back last. */
const rank = (step) => (step.main ? 0 : step.danger ? 2 : 1);

/** A step as a part that opens: the main one is open at once when it asks for something. */
function drawStep(step, one, all, before) {
  const taken = [];
  const purposes = (step.photos?.length ? step.photos : [""]).map((name) => [name, PURPOSES[name]?.() ?? t("Take a photo")]);
  const made = form(step.fields, { categories: all.categories, purposes, photos: taken });
  const wrong = h("p", { class: "error", role: "alert" });
  const press = h("button", { class: `large ${step.danger ? "danger" : "primary"}` }, step.label);
  const body = h("form", { novalidate: true, submit: async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    press.disabled = true;
    try {
      await made.beforeRead();
      const given = made.read();
      await put(step, one, given, before);
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      wrong.textContent = error.message;
    } finally {
      press.disabled = false;
    }
  } }, step.meaning && h("p", { class: "hint" }, step.meaning), made.nodes, wrong, press);
  return h("details", { class: "card step", open: step.main, name: "step" }, h("summary", {}, step.label), body);
}

async function put(step, one, given, before) {
  const position = lastKnown() ?? await whereAmI(3000);
  const builds = before ? { of: before.key } : { base_version: one.version };
  await enqueue(action("step", {
    case: one.id, ...builds, position, photos: given.photos, signature: given.signature,
    fields: { action: step.action, ...given.fields }, about: `${step.label} · ${named(one)}`,
  }));
  left(t("{step}: kept on the phone, sent by itself.", { step: step.label }));
}
