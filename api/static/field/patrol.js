// The screen of a patrol: start, check in, end, and which streets of the cell nobody has walked in seven days.
import { bundle } from "./bundle.js";
import { makeMap, standing } from "./map.js";
import { inside, lastKnown, whereAmI } from "./place.js";
import { checkIn, onStep, running, start, stop } from "./patrolling.js";
import { track } from "./store.js";
import { button, h, metres, named, notice, span, toast } from "./ui.js";
import { t } from "./words.js";

export async function show(main, _parts, { again }) {
  const [all, run] = await Promise.all([bundle(), running()]);
  const features = all.cells?.features ?? [];
  const state = h("p", { class: "lead", role: "status" });
  const tell = (one) => { state.textContent = one ? t("On patrol for {span}, {far} walked", { span: span(Date.now() - new Date(one.started)), far: metres(one.far) }) : t("No patrol is on."); };
  tell(run);
  const cells = h("select", { id: "cell" }, features.map((one) => h("option", { value: one.properties.code }, `${one.properties.community_name} ${one.properties.name}`)));
  main.append(state);
  if (run) {
    main.append(h("div", { class: "pair" },
      h("button", { type: "button", class: "primary large", click: async (event) => {
        event.currentTarget.disabled = true;
        toast((await checkIn("cell")) ? t("Checked in; kept on the phone.") : t("The phone does not tell its position."));
        again();
      } }, t("Check in here")),
      h("button", { type: "button", class: "large", click: async () => { await stop(); toast(t("The patrol has ended.")); again(); } }, t("End the patrol"))));
  } else {
    main.append(features.length > 1 ? h("div", { class: "field" }, h("label", { for: "cell" }, t("Cell")), cells) : "",
      h("button", { type: "button", class: "primary large", click: async (event) => {
        event.currentTarget.disabled = true;
        await start(cells.value || null);
        again();
      } }, t("Start a patrol")));
    whereAmI(5000).then((at) => { const here = at && inside(features, [at.lng, at.lat]); if (here) cells.value = here.properties.code; });
  }
  main.append(h("p", { class: "hint" }, t("Your way is recorded only between start and end, and only while the screen is on. It is thinned, kept for a limited time, and shows which streets were walked.")));
  const box = h("div", { class: "map", "aria-label": t("Map of the cell with streets nobody walked") });
  const missing = all.plan.flatMap((one) => one.missing ?? []);
  main.append(h("h2", {}, t("Not walked in seven days ({n})", { n: missing.length })), box,
    missing.length ? h("ul", { class: "streets" }, missing.slice(0, 30).map((one) => h("li", {}, h("span", { class: "title" }, one.name || t("Path without a name")), " ", h("span", { class: "muted" }, metres(one.m)))))
      : notice("good", h("p", {}, t("Every street was walked."))));
  const walked = run ? await track() : [];
  let off = () => {};
  const drawn = makeMap(box, { cells: all.cells }).then((map) => {
    const { L } = map;
    for (const [lng, lat] of missing.flatMap((one) => one.spots ?? [])) L.circleMarker([lat, lng], { radius: 4, weight: 1, color: "#ffffff", fillColor: "#b3261e", fillOpacity: 1, interactive: false }).addTo(map.map);
    const line = L.polyline(walked.map(([lng, lat]) => [lat, lng]), { color: "#1b7a3d", weight: 5, interactive: false }).addTo(map.map);
    const move = standing(L, map.map);
    if (lastKnown()) move(lastKnown());
    if (run) off = onStep((at, one) => { move(at); line.addLatLng([at.lat, at.lng]); tell(one); });
    return map;
  });
  return { title: t("Patrol"), end: () => { off(); drawn.then((map) => map.end()); } };
}

/** The map of everything: cells, tasks, matters near. */
export async function showMap(main, _parts, { go }) {
  const all = await bundle();
  const box = h("div", { class: "map whole", "aria-label": t("Map of my cells") });
  const list = h("ul", { class: "mapped" });
  main.append(box, h("details", { class: "card" }, h("summary", {}, t("The same as a list")), list));
  const drawn = makeMap(box, { cells: all.cells, main: true }).then(async (map) => {
    const { L } = map;
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    for (const one of all.near) if (one.lng !== null) L.circleMarker([one.lat, one.lng], { radius: 8, weight: 2, color: colour("muted"), fillColor: colour("surface"), fillOpacity: 0.9 }).bindTooltip(h("span", {}, `${named(one)} · ${one.state_label}`)).addTo(map.map);
    for (const one of all.tasks) {
      if (one.lng === null || one.lng === undefined) continue;
      L.circleMarker([one.lat, one.lng], { radius: 13, weight: 3, color: colour("surface"), fillColor: colour(one.duty === "look" ? "half" : "near"), fillOpacity: 1 }).on("click", () => go(`#/task/${one.id}`)).addTo(map.map);
    }
    const move = standing(L, map.map);
    const at = lastKnown() ?? await whereAmI(6000);
    if (at && box.isConnected) move(at);
    box.after(button(t("Where am I"), async () => { const here = await whereAmI(); if (here) { move(here); map.map.setView([here.lat, here.lng], 17, { animate: false }); } else toast(t("The phone does not tell its position.")); }, { class: "here" }));
    return map;
  });
  list.append(...all.tasks.map((one) => h("li", {}, h("a", { href: `#/task/${one.id}` }, h("span", { class: "title" }, named(one))))),
    ...all.near.slice(0, 40).map((one) => h("li", {}, h("span", { class: "title" }, named(one)), " ", h("span", { class: "muted" }, one.state_label))));
  return { title: t("Map"), end: () => drawn.then((map) => map.end()) };
}
