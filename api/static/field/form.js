// Forms as the server describes them: a list of fields becomes inputs, and inputs become values. Knows no process: what is
// asked stands in the bundle.
import { dropPhoto, enough, keepPhoto, newKey, photo } from "./store.js";
import { button, h, icon, notice } from "./ui.js";
import { t } from "./words.js";

/** Photos of one action, as the server takes them. */
const MOST_PHOTOS = 12;
const NUMBERS = { count: "numeric", number: "text" };
let serial = 0;

/**
 * Draw fields. Returns {nodes, read()}; read() answers {fields, photos, signature} or throws a Missing with the field.
 * given: {values, categories, purposes: [["before", words]…]}.
 */
export function form(fields, { values = {}, categories = [], purposes = [""], photos = [] } = {}) {
  const parts = fields.map((field) => part(field, { value: values[field.name], categories, purposes, photos }));
  const watch = () => parts.forEach((one) => one.watch(current()));
  const current = () => Object.fromEntries(parts.map((one) => [one.field.name, one.value()]));
  const nodes = parts.map((one) => one.node);
  nodes.forEach((node) => node.addEventListener("change", watch));
  watch();
  return {
    nodes,
    read() {
      const made = { fields: {}, photos: [], signature: null };
      const all = current();
      for (const one of parts) {
        const value = one.value();
        const blank = value === "" || value === null || (Array.isArray(value) && !value.length);
        one.wrong(blank && one.needed(all));
        if (blank && one.needed(all)) {
          one.node.scrollIntoView({ block: "center" });
          one.node.querySelector("input, select, textarea, canvas, button")?.focus();
          throw new Missing(one.field);
        }
        if (one.field.kind === "photos") made.photos.push(...value);
        else if (one.field.kind === "signature") made.signature = value;
        else if (!blank) made.fields[one.field.name] = value;
      }
      return made;
    },
    async beforeRead() {
      for (const one of parts) await one.before?.();
    },
  };
}

export class Missing extends Error {
  constructor(field) {
    super(t("Please fill in: {name}", { name: field.label }));
    this.field = field;
  }
}

function part(field, given) {
  const id = `i${serial += 1}`;
  const made = (KINDS[field.kind] ?? line)(field, id, given);
  const error = h("p", { class: "error", id: `${id}-e`, hidden: true }, t("Please fill this in."));
  const label = made.group
    ? h("legend", {}, field.label, !field.needed && h("span", { class: "optional" }, ` ${t("(if you like)")}`))
    : h("label", { for: id }, field.label, !field.needed && h("span", { class: "optional" }, ` ${t("(if you like)")}`));
  const node = h(made.group ? "fieldset" : "div", { class: "field" }, label, field.help && h("p", { class: "hint" }, field.help), made.node, error);
  const needed = (all) => field.needed || Object.entries(field.needed_if ?? {}).some(([name, wanted]) => wanted.includes(all[name]));
  return {
    field, node, needed, value: made.value, before: made.before,
    wrong(yes) {
      error.hidden = !yes;
      node.classList.toggle("wrong", yes);
    },
    watch() {},
  };
}

function line(field, id, { value = "" }) {
  const node = h("input", { id, value: value ?? "", maxlength: field.most || 200, inputmode: NUMBERS[field.kind] ?? null, autocomplete: "off" });
  return { node, value: () => (field.kind === "count" && node.value ? Number(node.value) : node.value.trim()) };
}

function dated(type) {
  return (field, id, { value = "" }) => {
    const node = h("input", { id, type, value: value ?? "" });
    return { node, value: () => (node.value && type === "datetime-local" ? `${node.value}:00+08:00` : node.value) };
  };
}

function long(field, id, { value = "" }) {
  const node = h("textarea", { id, rows: 3, maxlength: field.most || 2000 }, value ?? "");
  return { node, value: () => node.value.trim() };
}

function select(field, id, { value = "", categories }) {
  const choices = field.kind === "category" ? categories.map((one) => ({ code: one.code, words: one.name })) : field.choices ?? [];
  if (choices.length <= 6 && field.kind !== "category") return radios(choices, id, value);
  const node = h("select", { id }, h("option", { value: "" }, t("Choose…")),
    choices.map((one) => h("option", { value: one.code, selected: one.code === value }, one.words)));
  return { node, value: () => node.value };
}

function radios(choices, id, value) {
  const node = h("div", { class: "choices" }, choices.map((one) =>
    // Names that the district gave stay in its language.
    h("label", one.lang ? { lang: one.lang } : {}, h("input", { type: "radio", name: id, value: one.code, checked: one.code === value }), one.words)));
  return { node, group: true, value: () => node.querySelector("input:checked")?.value ?? "" };
}

function several(field, id) {
  const choices = field.choices ?? [];
  if (!choices.length) return line(field, id, {});
  const node = h("div", { class: "choices" }, choices.map((one) => h("label", {}, h("input", { type: "checkbox", value: one.code }), one.words)));
  return { node, group: true, value: () => [...node.querySelectorAll("input:checked")].map((one) => one.value) };
}

function limit(field, id, { value = "" }) {
  const number = h("input", { id, inputmode: "numeric", maxlength: 3, value: String(value).replace(/\D/g, "") });
  const count = h("select", { "aria-label": t("Counted in") }, h("option", { value: "wd" }, t("working days")), h("option", { value: "nd" }, t("days")));
  return { node: h("div", { class: "pair" }, number, count), value: () => (number.value ? `${number.value}${count.value}` : "") };
}

function pictures(field, id, { purposes, photos }) {
  const taken = photos;
  const node = h("div", { class: "takes" }, purposes.map(([purpose, words]) => camera(taken, { purpose, words })));
  return { node, group: true, value: () => taken };
}

/** A strip of photos of one purpose with a button that opens the camera. taken: [{key, sha256, purpose}], changed in place. */
export function camera(taken, { purpose = "", words = "", changed = null } = {}) {
  const strip = h("ul", { class: "strip" });
  const draw = async () => {
    const mine = taken.filter((one) => (one.purpose ?? "") === purpose);
    strip.replaceChildren(...await Promise.all(mine.map((one) => thumb(one, async () => {
      taken.splice(taken.indexOf(one), 1);
      await dropPhoto(one.key);
      await changed?.();
      draw();
    }))));
  };
  const input = h("input", { type: "file", accept: "image/*", capture: "environment", class: "sr", async change() {
    for (const file of [...input.files].slice(0, MOST_PHOTOS - taken.length)) {
      const kept = await take(file);
      if (!kept) break;
      taken.push({ ...kept, ...(purpose ? { purpose } : {}) });
      await changed?.();
    }
    input.value = "";
    draw();
  } });
  draw();
  return h("div", { class: "camera" }, strip, h("label", { class: "button" }, icon("camera"), words || t("Take a photo"), input));
}

/** Put a photo or a note into the phone's store at once; answers {key, sha256}, or null after saying why not. */
export async function take(blob) {
  const key = newKey();
  try {
    await keepPhoto(key, blob);
    const { sha256 } = await photo(key);
    return { key, sha256 };
  } catch (error) {
    const full = error.name === "QuotaExceededError" || !(await enough());
    document.querySelector("main").prepend(notice("bad", h("p", {}, h("strong", {},
      full ? t("The phone's storage is full: this photo could not be kept.") : t("This photo could not be kept."))),
      h("p", {}, t("Nothing that was kept before is lost. Send what waits or make room, then take it again."))));
    window.scrollTo(0, 0);
    return null;
  }
}

async function thumb(one, remove) {
  const kept = await photo(one.key).catch(() => null);
  const address = kept ? URL.createObjectURL(kept.blob) : "";
  const picture = h("img", { src: address, alt: t("Photo"), load: () => setTimeout(() => URL.revokeObjectURL(address), 1000), error: () => picture.replaceWith(h("span", { class: "nopicture" }, t("Kept; this phone cannot show it."))) });
  return h("li", {}, picture, h("button", { type: "button", class: "off", "aria-label": t("Remove this photo"), click: remove }, "×"));
}

/** A field to sign in with a finger; becomes a PNG in the store. */
function signature(field, id) {
  const pad = h("canvas", { class: "sign", tabindex: 0, role: "img", "aria-label": t("Sign here with a finger") });
  let [drawn, kept, pen, down] = [false, null, null, false];
  const spot = (event) => {
    const box = pad.getBoundingClientRect();
    return [(event.clientX - box.left) * pad.width / box.width, (event.clientY - box.top) * pad.height / box.height];
  };
  pad.addEventListener("pointerdown", (event) => {
    if (!pen) {
      [pad.width, pad.height] = [pad.clientWidth * 2, pad.clientHeight * 2];
      pen = pad.getContext("2d");
      Object.assign(pen, { lineWidth: 5, lineCap: "round", lineJoin: "round", strokeStyle: "#000" });
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, pad.width, pad.height);
    }
    pad.setPointerCapture(event.pointerId);
    [down, drawn, kept] = [true, true, null];
    pen.beginPath();
    pen.moveTo(...spot(event));
  });
  pad.addEventListener("pointermove", (event) => {
    if (!down) return;
    pen.lineTo(...spot(event));
    pen.stroke();
  });
  for (const name of ["pointerup", "pointercancel"]) pad.addEventListener(name, () => { down = false; });
  const clear = button(t("Sign anew"), () => { pen?.fillRect(0, 0, pad.width, pad.height); [drawn, kept] = [false, null]; }, { class: "quiet" });
  return {
    node: h("div", {}, pad, clear), group: true, value: () => (drawn ? kept ?? "drawn" : ""),
    async before() {
      if (drawn && !kept) kept = await take(await new Promise((made) => pad.toBlob(made, "image/png")));
    },
  };
}

const YES_NO = (field, id, given) => radios([{ code: "yes", words: t("Yes") }, { code: "no", words: t("No") }], id, given.value ?? "");

const KINDS = {
  long, choice: select, category: select, unit: select, units: several, names: several, span: limit, photos: pictures,
  satisfaction: select, flag: YES_NO, yes_no: YES_NO, date: dated("date"), instant: dated("datetime-local"), signature,
};
