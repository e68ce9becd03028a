// The window's keyboard: N a new application, / the number, ? the keys; and a counter form that is sent once.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
  const found = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!found) return;
  event.preventDefault();
  if (found.matches("input")) found.focus(); else found.click();
});
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
});
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-all]")) return;
  document.querySelectorAll('.checklist input[name="paper"]').forEach((box) => { if (box.value !== "authorisation") box.checked = true; });
});
