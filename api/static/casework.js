// Forms of steps, for desk and unit: texts to begin with, one submission at a time, and drafts that outlive a bad line.
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
