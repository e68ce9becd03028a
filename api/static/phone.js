// The telephone on desk pages: the bar is drawn anew when the server says that something changed; keys; timers.
"use strict";
(() => {
  const by = (selector, root = document) => root.querySelector(selector);
  const slot = by("#phone");
  if (!slot) return;
  const title = document.title;
  let source = null, stale = false, rang = "";

  // ---- fresh
  // What somebody types into the bar is not drawn over; it is fresh again when they are done.
  const typing = () => document.activeElement?.matches?.("#phone input") && document.activeElement.value !== "";
  function refresh() {
    if (!window.htmx) return;
    if (typing()) { stale = true; return; }
    stale = false;
    htmx.ajax("GET", "/phone/bar", { target: "#phone", swap: "innerHTML" });
    if (by("#queue") && !by("#queue :focus")) htmx.ajax("GET", "/phone/queue", { target: "#queue", swap: "innerHTML" });
  }
  slot.addEventListener("focusout", () => { if (stale) setTimeout(refresh, 0); });
  function listen() {
    if (source || !(by("[data-seated]", slot) || by("#queue"))) return;
    source = new EventSource(slot.dataset.live);
    source.addEventListener("phone", refresh);
  }
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", (event) => { if (event.persisted) { listen(); refresh(); } });

  function drawn() {
    const card = by(".caller", slot);
    // On the page where the call is being written down it need not be taken again.
    if (card && by(`input[name="call"][value="${card.dataset.call}"]`)) by("[data-accept]", card)?.remove();
    const rings = card?.dataset.state === "ringing";
    document.title = rings ? `☎ ${title}` : title;
    if (rings && rang !== card.dataset.call) by("#phone-said").textContent = slot.dataset.rings;
    rang = rings ? card.dataset.call : "";
    tick();
    listen();
  }
  let held = "";
  slot.addEventListener("htmx:beforeSwap", () => { held = document.activeElement?.dataset?.phoneKey || ""; });
  slot.addEventListener("htmx:afterSwap", () => {
    if (held) by(`[data-phone-key="${held}"]`, slot)?.focus();
    drawn();
  });

  // ---- timers
  function tick() {
    for (const part of document.querySelectorAll(".timer[data-since], .timer[data-until]")) {
      const left = part.dataset.until ? Date.parse(part.dataset.until) - Date.now() : Date.now() - Date.parse(part.dataset.since);
      const seconds = Math.max(0, Math.round(left / 1000));
      part.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
      if (part.dataset.until && left <= 0 && !part.dataset.over && slot.contains(part)) { part.dataset.over = "1"; setTimeout(refresh, 300); }
    }
  }
  setInterval(tick, 1000);

  // ---- keys: function keys work in every field, so that hands stay where they are
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey && event.key === "Enter" && by("#callback")) {
      event.preventDefault();
      by('#callback button[value="next"]').click();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const pressed = /^F\d+$/.test(event.key) && by(`[data-phone-key="${event.key}"]`, slot);
    if (pressed) { event.preventDefault(); pressed.click(); return; }
    if (event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select") || localStorage.getItem("keys") === "off") return;
    const chosen = by(`#callback [data-digit="${CSS.escape(event.key)}"]`);
    if (chosen) { event.preventDefault(); chosen.checked = true; chosen.focus(); chosen.dispatchEvent(new Event("change", { bubbles: true })); }
    else if (event.key === "n" && by("#next")) { event.preventDefault(); by("#next").requestSubmit(); }
  });
  drawn();
})();
