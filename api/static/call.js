// Taking a call without the mouse: keys for every choice, candidates on the map, and drafts that outlive a crash of the
// browser and of the server. Everything it does can be done without it.
"use strict";
(() => {
  const by = (selector, root = document) => root.querySelector(selector);
  const form = by("#take");
  if (!form) return;
  const text = by("#f-text");
  const understood = by("#understood");

  // ---- drafts: in the browser until the server has them
  const key = form.elements.key.value;
  const account = form.dataset.account;
  // Not localStorage: that is written to the disk seconds later, and a crash in between would take the last words.
  const store = idb.openDB("wangge-desk", 1, { upgrade: (db) => db.createObjectStore("drafts", { keyPath: "key" }) });
  const said = by("#saved");
  const token = by('meta[name="csrf-token"]').content;
  let revision = Number(form.dataset.revision) || 0;
  let timer = 0, sent = false;
  const KEPT = ["text", "phone", "name", "category", "place", "kind", "urgency", "to", "unit", "note", "call", "service", "taken_by", "hand_reason", "refuse_reason", "answer", "source", "called"];
  const fields = () => {
    const given = new FormData(form);
    return Object.fromEntries(KEPT.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
  };
  async function push(name, entry) {
    const body = new URLSearchParams({ ...entry.fields, revision: String(entry.revision) });
    const answer = await fetch(`/desk/drafts/${encodeURIComponent(name)}`, { method: "POST", body, headers: { "X-CSRF-Token": token, "HX-Request": "true" } });
    if (!answer.ok) throw new Error(String(answer.status));
    const kept = (await answer.json()).revision;
    const db = await store;
    const left = await db.get("drafts", name);
    // What was typed while the answer was on its way is not acknowledged yet; a call that is recorded needs no draft.
    if (left && left.revision <= kept) await db.delete("drafts", name);
  }
  function changed() {
    if (sent) return;
    const now = fields();
    if (!now.text && !now.phone && !now.name) return;
    revision += 1;
    const entry = { key, account, revision, fields: now, at: Date.now() };
    // Full or forbidden: then the server is the only copy.
    const put = store.then((db) => db.put("drafts", entry)).then(() => true, () => false);
    said.textContent = form.dataset.saving;
    clearTimeout(timer);
    timer = setTimeout(() => {
      push(key, entry).then(() => { if (entry.revision === revision) said.textContent = form.dataset.saved; })
        .catch(async () => {
          // Said of the newest words only, and not before they are in the browser's store.
          const kept = await put;
          if (entry.revision !== revision || sent) return;
          said.textContent = kept ? form.dataset.kept : form.dataset.lost;
          timer = setTimeout(changed, 5000);
        });
    }, 500);
  }
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  // What a crash left behind goes to the server first, and is then on the list of drafts.
  async function bring() {
    let brought = 0;
    const db = await store;
    for (const entry of await db.getAll("drafts")) {
      if (Date.now() - entry.at > 12 * 3600 * 1000) { await db.delete("drafts", entry.key); continue; }
      if (entry.account !== account || entry.key === key) continue;
      try { await push(entry.key, entry); brought += 1; } catch { /* again at the next page */ }
    }
    if (!brought) return;
    // The list is put in beside whatever is being typed: nothing is loaded anew under somebody's hands.
    const fresh = new DOMParser().parseFromString(await (await fetch("/desk/new")).text(), "text/html").getElementById("unsent");
    if (!fresh) return;
    by("#unsent")?.remove();
    form.before(document.importNode(fresh, true));
  }
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
    sent = true;
    clearTimeout(timer);
  });
  addEventListener("pageshow", (event) => { if (event.persisted) { delete form.dataset.sent; sent = false; } });
  // ---- the map
  const box = by("#map");
  let map = null, towns = null;
  const layers = {};
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  function marker(spot, cls, words, size, title) {
    const made = L.marker([spot.lat, spot.lng], { icon: L.divIcon({ className: cls, html: "", iconSize: [size, size] }), title, alt: title, keyboard: false });
    made.on("add", () => { made.getElement().textContent = words; });
    return made;
  }
  function start() {
    if (!box || typeof L === "undefined") return;
    map = L.map(box, { zoomSnap: 0.25, zoomAnimation: false, fadeAnimation: false, markerZoomAnimation: false });
    map.attributionControl.setPrefix(false);
    map.setView([23, 113], 12);
    for (const name of ["spots", "chosen"]) layers[name] = L.layerGroup().addTo(map);
    fetch(box.dataset.outline).then((answer) => answer.json()).then((found) => {
      towns = L.geoJSON(found, { interactive: false, style: { color: style("--line-strong"), weight: 1.5, fillColor: style("--surface"), fillOpacity: 0.55 } }).addTo(map);
      towns.bringToBack();
      draw();
    }).catch(() => {});
    map.on("click", (event) => choose(`${event.latlng.lng.toFixed(6)},${event.latlng.lat.toFixed(6)},`));
  }
  function draw() {
    if (!map) return;
    layers.spots.clearLayers();
    layers.chosen.clearLayers();
    const part = by("[data-map]", understood);
    const found = part ? JSON.parse(part.dataset.map) : { spots: [], chosen: null };
    const bounds = L.latLngBounds([]);
    for (const spot of found.spots) {
      layers.spots.addLayer(L.circle([spot.lat, spot.lng], { radius: Math.max(5, spot.radius_m || 5), color: style("--accent"), weight: 1.5, dashArray: "4 4", fillOpacity: 0.08, interactive: false }));
      const made = marker(spot, "spot-icon", String(spot.no), 26, `${box.dataset.candidate} ${spot.no} ${spot.name}`);
      made.on("click", () => accept(spot.no));
      layers.spots.addLayer(made);
      bounds.extend([spot.lat, spot.lng]);
    }
    if (found.chosen) {
      layers.chosen.addLayer(marker(found.chosen, "here-icon", "✓", 24, `${box.dataset.chosen} ${found.chosen.name}`));
      bounds.extend([found.chosen.lat, found.chosen.lng]);
    }
    if (bounds.isValid()) map.fitBounds(bounds.pad(0.3), { maxZoom: 16, animate: false });
    else if (towns) map.fitBounds(towns.getBounds(), { animate: false });
  }

  // ---- how fresh the middle is: said to programs that read aloud, which wait for it as whoever presses a key does
  const asked = { no: 0, text: null };
  const busy = (on) => understood.setAttribute("aria-busy", String(on));
  text.addEventListener("input", () => busy(text.value !== asked.text));
  text.addEventListener("htmx:beforeRequest", (event) => { event.detail.xhr.asked = { no: asked.no, text: text.value }; });
  text.addEventListener("htmx:afterRequest", (event) => {
    const { xhr, successful } = event.detail;
    // Given up for a newer one, which will tell.
    if (!xhr.asked || xhr.status === 0) return;
    if (successful) asked.text = xhr.asked.text;
    busy(successful && (xhr.asked.no !== asked.no || text.value !== asked.text));
  });
  text.addEventListener("htmx:sendError", () => busy(false));
  busy(true);

  // ---- choices
  const again = () => {
    asked.no += 1;
    busy(true);
    if (window.htmx) htmx.trigger(text, "refresh");
  };
  function choose(value) {
    let radio = by(`input[name=place][value="${CSS.escape(value)}"]`, understood);
    if (!radio) {
      radio = document.createElement("input");
      radio.type = "radio"; radio.name = "place"; radio.value = value; radio.hidden = true;
      understood.append(radio);
    }
    radio.checked = true;
    changed();
    again();
  }
  function accept(no) {
    const radio = by(`[data-spot="${no}"] input`, understood);
    if (radio) choose(radio.dataset.exact);
  }
  function takeCategory(words) {
    by("#f-category").value = words;
    changed();
    again();
  }
  understood.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-category], [data-called], [data-text]");
    if (!chip) return;
    if (chip.dataset.category !== undefined) takeCategory(chip.dataset.category);
    else if (chip.dataset.called !== undefined) { by("#f-called").value = chip.dataset.called; changed(); }
    else begin(chip.dataset.text);
  });
  // Puts a text under what is written already, and marks the first open place to be typed over.
  function begin(words) {
    open("#saying", "#f-answer");
    const area = by("#f-answer");
    if (!area.value.includes(words)) {
      area.value = area.value.trim() ? `${area.value.trimEnd()}\n${words}` : words;
      area.dispatchEvent(new Event("input", { bubbles: true }));
    }
    const blank = /【[^】\n]{0,60}】/.exec(area.value);
    if (blank) area.setSelectionRange(blank.index, blank.index + blank[0].length);
    else area.setSelectionRange(area.value.length, area.value.length);
  }
  understood.addEventListener("change", (event) => {
    if (event.target.name === "unit" && event.target.value) by('input[name="to"][value="other"]', understood).checked = true;
    if (event.target.name === "place" && event.target.dataset.exact) choose(event.target.dataset.exact);
    else if (["kind", "urgency"].includes(event.target.name)) again();
  });
  by("#f-category").addEventListener("change", again);
  // What somebody is at is not taken from under their hands: focus and open parts stay.
  let focused = "", value = "";
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target !== understood) return;
    focused = understood.contains(document.activeElement) ? document.activeElement.id : "";
    value = focused === "f-unit" ? document.activeElement.value : "";
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target !== understood) return;
    if (focused) { const part = document.getElementById(focused); part?.focus(); if (value) part.value = value; }
    draw();
  });

  // ---- keys
  const help = by("#help");
  by("#help-open")?.addEventListener("click", () => help.showModal());
  const focus = (selector) => { const found = by(selector); found?.focus(); found?.select?.(); };
  const open = (selector, field) => { const part = by(selector); part.open = true; focus(field); };
  const press = (selector) => by(selector)?.click();
  const KEYS = {
    1: () => press('#understood [data-key="1"]'),
    2: () => press('#understood [data-key="2"]'),
    3: () => press('#understood [data-key="3"]'),
    a: () => accept(1),
    b: () => accept(2),
    c: () => focus("#f-category"),
    k: () => focus("#f-kind"),
    g: () => focus("#f-urgency"),
    u: () => focus("#f-unit"),
    t: () => text.focus(),
    p: () => focus("#f-phone"),
    n: () => focus("#f-note"),
    i: () => focus("#f-called"),
    y: () => press('#understood [data-key="y"]'),
    x: () => (by('#understood [data-key="x"]') ? press('#understood [data-key="x"]') : open("#saying", "#f-answer")),
    f: () => press('#take [data-key="f"]'),
    d: () => press('#take [data-key="d"]'),
    s: () => press('#take [data-key="s"]'),
    m: () => press('#understood [data-key="m"]'),
    w: () => press('#understood [data-key="w"]'),
    o: () => press('#unsent [data-key="o"]'),
    h: () => {
      const call = by("[data-service]", understood)?.dataset.service;
      const service = by("#f-service");
      if (call && !service.value) service.value = call;
      open("#hand", service.value ? "#f-taken-by" : "#f-service");
    },
    r: () => {
      const reason = by("#f-refuse-reason");
      if (!reason.value) reason.value = by("[data-reason]", understood)?.textContent || "";
      open("#refusal", "#f-refuse-reason");
    },
    "?": () => help.showModal(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || help?.open) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); press('#take [data-key="s"]'); return; }
    const field = event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select");
    if (event.key === "Escape" && field) { field.blur(); return; }
    // Enter in a single field goes on; it never sends a call that is half written.
    if (event.key === "Enter" && field && field.form === form && field.tagName === "INPUT") { event.preventDefault(); field.blur(); return; }
    if (event.ctrlKey || event.metaKey) return;
    if (field && !event.altKey) return;
    if (!event.altKey && localStorage.getItem("keys") === "off") return;
    // With Alt some keyboards write other letters: the key itself counts.
    const pressed = event.altKey ? event.code.replace(/^(Key|Digit)/, "").toLowerCase() : event.key;
    const act = KEYS[pressed];
    if (act) { event.preventDefault(); act(); }
  });

  addEventListener("DOMContentLoaded", () => { start(); bring().catch(() => {}); });
})();
