// Decide pairs and conflicts by keyboard: J and K move, and a digit or letter presses the button that bears it.
(() => {
  const lines = () => [...document.querySelectorAll(".decide")];
  const at = () => lines().findIndex((one) => one.contains(document.activeElement));
  const go = (to) => {
    const all = lines();
    if (!all.length) return;
    const line = all[Math.max(0, Math.min(all.length - 1, to))];
    line.focus();
    line.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea")) return;
    const key = event.key.toLowerCase();
    if (key === "j" || key === "k") {
      event.preventDefault();
      go(at() < 0 ? 0 : at() + (key === "j" ? 1 : -1));
      return;
    }
    const line = lines()[at()];
    const wanted = (line || document).querySelector(`[data-key="${CSS.escape(key)}"]`) ||
      (key === "u" ? document.querySelector('[data-key="u"]') : null);
    // Without a line in focus a digit would decide whatever happens to be first.
    if (!wanted || (!line && key !== "u")) return;
    event.preventDefault();
    wanted.click();
  });
  if (lines().length) go(0);
})();
