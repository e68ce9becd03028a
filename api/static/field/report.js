// Reporting an event: the photo is kept first, then one chip and one press. Everything else may be left as it is.
import { bundle } from "./bundle.js";
import { camera, take } from "./form.js";
import { action, changed, sendSoon } from "./queue.js";
import { makeMap, standing } from "./map.js";
import { apart, whereAmI } from "./place.js";
import { draft, dropDraft, enqueue, keepDraft, newKey } from "./store.js";
import { button, h, icon, metres, named, notice, sure, toast } from "./ui.js";
import { t } from "./words.js";

const NEAR_M = 80;
const CHIPS = 6;

/** Begin a report with the photos that the camera gave; answers the address to go on at, or null. */
export async function begin(files) {
  const key = newKey();
  const photos = [];
  for (const file of files) {
    const kept = await take(file);
    if (kept) photos.push(kept);
  }
  if (files.length && !photos.length) return null;
  await keepDraft(key, { what: "report", photos, voice: [], at: new Date().toISOString() });
  return `#/report/${key}`;
}

export async function show(main, [key]) {
  const made = await draft(key);
  if (!made) {
    main.append(notice("warn", h("p", {}, t("This report is already on its way, or was thrown away."))));
    return t("Report");
  }
  const known = await bundle();
  const keepNow = () => keepDraft(key, made);
  const chips = h("div", { class: "chips", role: "radiogroup", "aria-label": t("What is it?") });
  const same = h("section", { "aria-live": "polite" });
  const where = h("p", { class: "where", role: "status" });
  const send = h("button", { type: "button", class: "primary large", disabled: true, click: () => submit(key, made, keepNow) }, t("Send"));

  const ready = () => {
    send.disabled = !(made.category && made.position);
    where.textContent = place(made.position);
  };
  const drawChips = () => {
    const guessed = guesses(known, made.position).slice(0, CHIPS);
    const chosen = known.categories.find((one) => one.code === made.category);
    if (chosen && !guessed.includes(chosen)) guessed.unshift(chosen);
    chips.replaceChildren(...guessed.map((one) => h("button", {
      type: "button", class: "chip", role: "radio", "aria-checked": String(one.code === made.category),
      click: () => choose(one.code),
    }, one.name)));
  };
  const choose = async (code) => {
    made.category = code;
    drawChips();
    ready();
    await keepNow();
  };
  const rest = h("select", { "aria-label": t("Another category"), change: () => rest.value && choose(rest.value) },
    h("option", { value: "" }, t("Another category…")), grouped(known.categories));

  let mark = () => {};
  const located = async (position, { moved = false } = {}) => {
    made.position = moved ? { ...position, accuracy: 5 } : position;
    made.moved = moved || made.moved;
    mark(made.position);
    drawChips();
    drawSame(same, known, made, key);
    ready();
    await keepNow();
  };
  drawChips();

  const strip = camera(made.photos, { changed: keepNow, words: t("One more photo") });
  const words = h("textarea", { id: "words", rows: 2, maxlength: 2000, change: () => { made.text = words.value.trim(); keepNow(); } }, made.text ?? "");
  const box = h("div", { class: "map small", "aria-label": t("Where it is: drag the pin to correct it") });
  main.append(strip, same, h("h2", {}, t("What is it?")), chips, h("div", { class: "field" }, rest),
    h("div", { class: "sendbar" }, send), where, box,
    h("div", { class: "field" }, h("label", { for: "words" }, t("In words"), h("span", { class: "optional" }, ` ${t("(if you like)")}`)), words),
    voice(made, keepNow), spot(made, keepNow),
    button(t("Throw this report away"), async () => {
      if (!(await sure(t("Throw the report and its photos away?"), t("Throw away")))) return;
      await dropDraft(key);
      location.hash = "#/today";
    }, { class: "danger quiet" }));
  ready();

  const drawn = makeMap(box, { cells: known.cells }).then((map) => {
    mark = pin(map, located);
    if (made.position) mark(made.position);
    return map;
  });
  if (made.position) drawSame(same, known, made, key);
  else {
    where.textContent = t("Looking for your position…");
    whereAmI().then((at) => {
      if (!box.isConnected || made.position) return;
      if (at) located(at);
      else where.textContent = t("The phone does not tell its position: touch the map where it is.");
    });
  }
  return { title: t("Report"), end: () => drawn.then((map) => map.end()) };
}

const place = (position) => (position
  ? t("Position exact to about {n} m; drag the pin to correct it", { n: Math.max(5, Math.round(position.accuracy)) }) : t("No position yet"));

/** A pin that can be dragged, and a map that takes a touch. Returns what moves the pin. */
function pin({ map, L }, located) {
  let marker = null;
  const move = standing(L, map);
  map.on("click", (event) => located({ lng: event.latlng.lng, lat: event.latlng.lat, at: new Date().toISOString() }, { moved: true }));
  return (at) => {
    if (!marker) {
      const drawn = L.divIcon({ className: "pin", html: icon("pin").outerHTML, iconSize: [48, 48], iconAnchor: [24, 44] });
      marker = L.marker([at.lat, at.lng], { draggable: true, icon: drawn, alt: t("Where it is"), keyboard: true }).addTo(map);
      marker.getElement().setAttribute("aria-label", t("Where it is"));
      marker.on("dragend", () => {
        const { lng, lat } = marker.getLatLng();
        located({ lng, lat, at: new Date().toISOString() }, { moved: true });
      });
      map.setView([at.lat, at.lng], 17, { animate: false });
    }
    marker.setLatLng([at.lat, at.lng]);
    move(at);
  };
}

/** Categories, the likeliest first: what I reported around here, then what I report often. */
export function guesses(known, position) {
  const score = new Map();
  for (const one of known.categories) score.set(one.code, Math.log1p(one.recent ?? 0) * 0.3);
  for (const one of position ? known.recent_near : []) {
    score.set(one.category, (score.get(one.category) ?? 0) + Math.exp(-apart([one.lng, one.lat], [position.lng, position.lat]) / 80));
  }
  return [...known.categories].sort((a, b) => score.get(b.code) - score.get(a.code));
}

function grouped(categories) {
  const groups = new Map();
  for (const one of categories) {
    // 市容环境 / 垃圾清运: what stands before the last stroke is the group.
    const name = one.path.split(" / ").slice(0, -1).join(" / ");
    groups.set(name, [...(groups.get(name) ?? []), one]);
  }
  return [...groups].map(([name, all]) => h("optgroup", { label: name || t("Others") }, all.map((one) => h("option", { value: one.code }, one.name))));
}

function drawSame(box, known, made, key) {
  const here = [made.position.lng, made.position.lat];
  const all = [...known.near.filter((one) => one.note), ...known.tasks.map((one) => ({ ...one, note: one.steps.some((step) => step.action === "note") })).filter((one) => one.note)];
  const found = all.filter((one) => one.lng !== null && one.lng !== undefined)
    .map((one) => ({ ...one, far: apart(here, [one.lng, one.lat]) }))
    .filter((one) => one.far < Math.max(NEAR_M, Math.min(200, made.position.accuracy))).sort((a, b) => a.far - b.far).slice(0, 3);
  box.replaceChildren(...(found.length ? [h("h2", {}, t("The same matter?"))] : []), ...found.map((one) =>
    h("div", { class: "nearby" }, h("p", {}, h("strong", { class: "title" }, named(one)), " ", h("span", { class: "muted" }, `${one.state_label} · ${metres(one.far)}`)),
      button(t("The same"), () => sameAs(one, made, key)))));
}

async function sameAs(one, made, key) {
  const fields = { note: made.text || t("Seen again on the spot.") };
  await enqueue(action("same", { case: one.id, position: made.position, happened_at: made.at, photos: made.photos, voice: made.voice, fields, about: one.number }), key);
  left(t("Added to matter {number}; it is sent by itself.", { number: one.number }));
}

/** A note by voice: one press begins, one ends. */
function voice(made, keepNow) {
  if (!("MediaRecorder" in window) || !navigator.mediaDevices) return null;
  const list = h("div", {});
  let recorder = null;
  const said = h("span", { role: "status" });
  const press = h("button", { type: "button", "aria-pressed": "false", async click() {
    if (recorder) { recorder.stop(); return; }
    const sound = await navigator.mediaDevices.getUserMedia({ audio: true }).catch(() => null);
    if (!sound) { said.textContent = t("The microphone may not be used."); return; }
    const parts = [];
    recorder = new MediaRecorder(sound, { audioBitsPerSecond: 24000 });
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", async () => {
      sound.getTracks().forEach((one) => one.stop());
      const kept = await take(new Blob(parts, { type: recorder.mimeType.split(";")[0] }));
      recorder = null;
      label(false);
      if (kept) { made.voice.push(kept); await keepNow(); draw(); }
    });
    recorder.start();
    setTimeout(() => recorder?.stop(), 120000);
    label(true);
  } });
  const label = (on) => {
    press.replaceChildren(icon(on ? "stop" : "mic"), on ? t("End the note") : t("Say it"));
    press.setAttribute("aria-pressed", String(on));
    said.textContent = on ? t("Recording…") : "";
  };
  const draw = () => list.replaceChildren(...made.voice.map((_, i) => h("p", { class: "muted" }, t("Voice note {n} kept", { n: i + 1 }))));
  label(false);
  draw();
  return h("div", { class: "field" }, press, said, list);
}

/** Settled here and now, with photos before and after. */
function spot(made, keepNow) {
  made.after ??= [];
  const done = h("textarea", { id: "done", rows: 2, maxlength: 1000, change: () => { made.done = done.value.trim(); keepNow(); } }, made.done ?? "");
  const inner = h("div", { hidden: !made.on_spot },
    camera(made.after, { purpose: "after", words: t("Photo after"), changed: keepNow }),
    h("div", { class: "field" }, h("label", { for: "done" }, t("What was done")), done));
  const yes = h("input", { type: "checkbox", checked: Boolean(made.on_spot), change: () => { made.on_spot = yes.checked; inner.hidden = !yes.checked; keepNow(); } });
  return h("div", { class: "field" }, h("label", { class: "tick" }, yes, t("I settled it on the spot")), inner);
}

async function submit(key, made, keepNow) {
  await keepNow();
  const fields = { text: made.text ?? "", category: made.category };
  let photos = made.photos;
  if (made.on_spot) {
    Object.assign(fields, { on_spot: true, done: made.done || t("Settled on the spot.") });
    photos = [...photos.map((one) => ({ ...one, purpose: "before" })), ...made.after];
  }
  const name = (await bundle()).categories.find((one) => one.code === made.category)?.name ?? "";
  await enqueue(action("report", { happened_at: made.at, position: made.position, photos, voice: made.voice, fields, about: name }), key);
  left(t("Kept on the phone; it is sent by itself."));
}

export function left(words, to = "#/today") {
  changed();
  sendSoon({ fresh: true });
  toast(words);
  location.hash = to;
}
