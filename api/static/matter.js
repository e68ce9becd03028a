// The person's own view of a matter: one submission at a time; a page from the browser's memory may be sent again.
"use strict";
document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-once]");
  if (!form) return;
  if (form.dataset.sent) { event.preventDefault(); return; }
  form.dataset.sent = "1";
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));
// Says how many files were chosen, where the browser's own words are hidden.
document.addEventListener("change", (event) => {
  const chooser = event.target.closest("input[type=file][data-chosen]");
  const said = chooser?.parentElement.querySelector("[role=status]");
  if (said) said.textContent = chooser.files.length ? chooser.dataset.chosen.replace("{n}", chooser.files.length) : "";
});
