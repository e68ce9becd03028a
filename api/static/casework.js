// Forms of steps, on every face: texts to begin with, fields that depend on others, places left open in an answer, one
// submission at a time, drafts that outlive a bad line, and choosing many cases.
"use strict";
document.addEventListener("change", (event) => {
  const chooser = event.target.closest("select[data-fills]");
  if (!chooser) return;
  const area = document.getElementById(chooser.dataset.fills);
  if (!area || !chooser.value) return;
  // What somebody wrote is never thrown away: the text goes below it.
  area.value = area.value.trim() ? `${area.value.trimEnd()}\n${chooser.value}` : chooser.value;
  area.dispatchEvent(new Event("input", { bubbles: true }));
  area.focus();
});
document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-once]");
  if (!form || form.hasAttribute("hx-post")) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "1";
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));

const draftKey = (area) => {
  const form = area.closest("form");
  return form ? `draft:${form.getAttribute("action")}:${area.name}` : null;
};
document.addEventListener("input", (event) => {
  const area = event.target.closest("[data-draft]");
  if (!area) return;
  const key = draftKey(area);
  if (area.value) sessionStorage.setItem(key, area.value); else sessionStorage.removeItem(key);
});
const restore = (root) => root.querySelectorAll("[data-draft]").forEach((area) => {
  const kept = sessionStorage.getItem(draftKey(area));
  if (kept && !area.value) area.value = kept;
});
document.addEventListener("DOMContentLoaded", () => {
  // A step that was taken needs its draft no longer.
  document.querySelectorAll("[data-taken]").forEach((mark) => {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(`draft:${mark.dataset.taken}`)) sessionStorage.removeItem(key);
  });
  restore(document);
});
document.addEventListener("htmx:afterSwap", (event) => restore(event.target));
document.addEventListener("desk:done", (event) => {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith(`draft:/desk/case/${event.detail.number}/`)) sessionStorage.removeItem(key);
});

// A field that is asked only while another one has certain values. Without scripts it is simply there.
const follow = (root) => root.querySelectorAll("[data-when]").forEach((part) => {
  const form = part.closest("form");
  const given = form ? new FormData(form).get(part.dataset.when) : null;
  part.hidden = !part.dataset.values.split(" ").includes(given || "");
});
// Brackets that nobody filled in yet are named under the answer while it is written.
const OPEN = /【[^】\n]{0,60}】|_{3,}/g;
const brackets = (area) => {
  let hint = area.parentElement.querySelector(".open-places");
  const found = [...new Set(area.value.match(OPEN) || [])];
  if (!hint) {
    hint = document.createElement("p");
    hint.className = "hint open-places";
    hint.setAttribute("aria-live", "polite");
    area.after(hint);
  }
  hint.textContent = found.length ? `${area.dataset.brackets} ${found.join(" ")}` : "";
};
document.addEventListener("change", (event) => { if (event.target.form) follow(event.target.form); });
document.addEventListener("input", (event) => { if (event.target.matches?.("[data-brackets]")) brackets(event.target); });
const prepare = (root) => {
  follow(root);
  root.querySelectorAll("[data-brackets]").forEach((area) => { if (area.value) brackets(area); });
};
document.addEventListener("DOMContentLoaded", () => prepare(document));
document.addEventListener("htmx:afterSwap", (event) => prepare(event.target));

// Choosing many cases.
const picks = () => [...document.querySelectorAll(".pick")];
const counted = () => {
  const chosen = picks().filter((pick) => pick.checked).length;
  const said = document.getElementById("picked");
  if (said) said.textContent = chosen ? `(${chosen})` : "";
};
document.addEventListener("change", (event) => {
  if (event.target.id === "pick-all") picks().forEach((pick) => { pick.checked = event.target.checked; });
  if (event.target.id === "pick-all" || event.target.matches?.(".pick")) counted();
});
addEventListener("pageshow", counted);

// A phone's photo has ten megabytes, a form may have as many in all: each is made smaller before it is sent, and what
// the browser cannot read goes as it is, for the server to say what is wrong with it.
const SIDE = 2048;
async function smaller(file) {
  if (file.size < 1_000_000) return file;
  try {
    const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
    const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.round(picture.width * scale);
    canvas.height = Math.round(picture.height * scale);
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    const made = await new Promise((done) => { canvas.toBlob(done, "image/jpeg", 0.85); });
    return made && made.size < file.size ? new File([made], file.name, { type: "image/jpeg" }) : file;
  } catch { return file; }
}
document.addEventListener("change", async (event) => {
  const field = event.target;
  if (!field.matches?.('input[type="file"][name^="photos_"]') || field.dataset.shrinking) return;
  field.dataset.shrinking = "1";
  const button = field.form?.querySelector("button:last-of-type");
  if (button) button.disabled = true;
  const made = new DataTransfer();
  for (const file of [...field.files].slice(0, 6)) made.items.add(await smaller(file));
  field.files = made.files;
  if (button) button.disabled = false;
  delete field.dataset.shrinking;
});
