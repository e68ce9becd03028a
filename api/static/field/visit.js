// Household visits: who is due, who lives here, the form, the signature; and an application begun at the door.
import { bundle } from "./bundle.js";
import { camera, form, Missing } from "./form.js";
import { action } from "./queue.js";
import { apart, lastKnown, whereAmI } from "./place.js";
import { enqueue } from "./store.js";
import { left } from "./report.js";
import { date, empty, h, link, metres } from "./ui.js";
import { t } from "./words.js";

const MOST = 60;

export async function show(main) {
  const all = await bundle();
  const find = h("input", { id: "find", type: "search", autocomplete: "off", placeholder: t("Road, number or name"), input: () => draw() });
  const list = h("ul", { class: "tasks" });
  const draw = () => {
    const asked = find.value.trim().toLowerCase();
    const found = all.households.filter((one) => !asked || `${one.address} ${one.room ?? ""} ${one.who}`.toLowerCase().includes(asked));
    list.replaceChildren(...nearest(found).slice(0, MOST).map((one) => line(one, `household/${one.id}`)));
  };
  main.append(h("h2", {}, t("Due ({n})", { n: all.visits.length })),
    all.visits.length ? h("ul", { class: "tasks" }, nearest(all.visits).map((one) => line(one, `visit/${one.id}`))) : empty(t("No visit is due.")),
    h("h2", {}, t("Households ({n})", { n: all.households.length })),
    h("div", { class: "field" }, h("label", { for: "find" }, t("Find a household")), find), list);
  draw();
  return { title: t("Visits") };
}

function nearest(all) {
  const from = lastKnown();
  if (!from) return all;
  const far = (one) => (one.lng === null || one.lng === undefined ? Infinity : apart([from.lng, from.lat], [one.lng, one.lat]));
  return [...all].sort((a, b) => far(a) - far(b));
}

function line(one, to) {
  const from = lastKnown();
  const far = from && one.lng ? metres(apart([from.lng, from.lat], [one.lng, one.lat])) : "";
  return h("li", {}, h("a", { href: `#/${to}` }, h("strong", { class: "title" }, [one.address, one.room].filter(Boolean).join(" ")),
    h("span", { class: "line" }, one.kind_label ? h("span", { class: "tag title" }, one.kind_label) : "", h("span", { class: "title" }, one.who ?? ""), far && h("span", { class: "far" }, far)),
    one.due_on ? h("span", { class: "muted" }, t("until {day}", { day: date(one.due_on) })) : one.last_visit ? h("span", { class: "muted" }, t("last visit {day}", { day: date(one.last_visit) })) : ""));
}

/** One visit: a due one (`visit`) or to any household (`household`). */
export async function showOne(main, [id], { screen }) {
  const all = await bundle();
  const due = screen === "visit" ? all.visits.find((each) => each.id === id) : null;
  const one = due ?? all.households.find((each) => each.id === id);
  if (!one) {
    main.append(empty(t("This visit is no longer due.")), link(t("Visits"), "#/visits"));
    return { title: t("Household visit") };
  }
  const photos = [];
  const { results, kinds } = all.visit_kinds;
  const asked = kinds.find((each) => each.kind === (due?.kind ?? "general"));
  const made = form(asked?.fields ?? []);
  const sign = form([{ name: "signature", kind: "signature", label: t("Signature"), needed: false }]);
  const details = h("div", {}, made.nodes, sign.nodes);
  const result = form([{ name: "result", kind: "choice", label: t("How it went"), needed: true, choices: results }], { values: { result: "done" } });
  result.nodes[0].addEventListener("change", (event) => { details.hidden = event.target.value !== "done"; });
  const note = form([{ name: "note", kind: "long", label: t("Note"), needed: false }]);
  const wrong = h("p", { class: "error", role: "alert" });
  main.append(h("p", { class: "lead title" }, [one.address, one.room].filter(Boolean).join(" ")), h("p", { class: "title" }, one.who ?? ""), one.hint ? h("p", { class: "hint said" }, one.hint) : "",
    h("form", { novalidate: true, submit: async (event) => {
      event.preventDefault();
      try {
        const how = result.read().fields.result;
        const parts = how === "done" ? [made, sign] : [];
        for (const part of parts) await part.beforeRead();
        const given = parts.map((part) => part.read());
        await enqueue(action("visit", {
          position: lastKnown() ?? await whereAmI(3000), photos, signature: given.map((part) => part.signature).find(Boolean) ?? null,
          fields: { [due ? "visit" : "household"]: one.id, result: how, form: given[0]?.fields ?? {}, ...note.read().fields }, about: [one.address, one.room].filter(Boolean).join(" "),
        }));
        left(t("The visit is kept on the phone and sent by itself."), "#/visits");
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
        wrong.textContent = error.message;
      }
    } }, result.nodes, details, note.nodes, camera(photos), wrong, h("button", { class: "primary large" }, t("Finish the visit"))),
    link(t("Apply for a service here"), "#/door"));
  return { title: due ? one.kind_label : asked?.label ?? t("Household visit") };
}

/** Choose a service item, or fill in the application for one. */
export async function showDoor(main, [code]) {
  const { items } = await bundle();
  const item = items.find((one) => one.code === code);
  if (!item) {
    main.append(items.length ? h("ul", { class: "tasks" }, items.map((one) => h("li", {}, h("a", { href: `#/door/${encodeURIComponent(one.code)}` }, h("strong", { class: "title" }, one.title)))))
      : empty(t("No service can be applied for at the door."), t("The list comes with the next line.")));
    return { title: t("Apply at the door") };
  }
  const seen = new Map(item.materials.map((one) => [one.code, { had: false, photos: [] }]));
  const who = form([
    { name: "name", kind: "text", label: t("Name"), needed: true, most: 100 },
    { name: "id_number", kind: "text", label: t("ID number"), needed: true, most: 18 },
    { name: "phone", kind: "text", label: t("Phone"), needed: true, most: 20 },
  ]);
  const ends = form(item.pick_ups?.length ? [{ name: "pickup", kind: "choice", label: t("Where to fetch the result"), needed: false, choices: item.pick_ups.map((one) => ({ code: one.code, words: one.name, lang: "zh-Hans" })) }] : []);
  const consent = h("input", { type: "checkbox" });
  const wrong = h("p", { class: "error", role: "alert" });
  main.append(h("form", { novalidate: true, submit: async (event) => {
    event.preventDefault();
    try {
      const { fields } = who.read();
      const given = Object.fromEntries([...seen].filter(([, one]) => one.had || one.photos.length).map(([name, one]) => [name, one.photos]));
      await enqueue(action("apply", {
        position: lastKnown(), given,
        fields: { item: item.code, seen: item.version, applicant: { kind: "person", ...fields }, consent: consent.checked, ...ends.read().fields },
        about: item.title,
      }));
      left(t("The application is kept on the phone and sent by itself."));
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      wrong.textContent = error.message;
    }
  } }, who.nodes,
  h("h2", {}, t("Materials")), item.materials.map((one) => material(one, seen.get(one.code))),
  ends.nodes, h("label", { class: "tick" }, consent, t("The applicant agrees that papers given before are used again")), wrong, h("button", { class: "primary large" }, t("Hand in the application"))));
  return { title: item.title, data: true };
}

function material(one, seen) {
  const had = h("input", { type: "checkbox", change: () => { seen.had = had.checked; } });
  return h("div", { class: "card" }, h("p", { class: "title" }, h("strong", {}, one.name), one.required ? "" : h("span", { class: "optional" }, ` ${t("(if you like)")}`)),
    h("label", { class: "tick" }, had, t("Seen on paper")), camera(seen.photos));
}
