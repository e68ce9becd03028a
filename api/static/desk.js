// List, case and map linked, for the operator's desk and for the unit's; keys; the place chosen by click.
// Everything it does can be done without it.
"use strict";
(() => {
  const by = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const detail = by("#detail");
  const box = by("#map");
  const home = by(".desk")?.dataset.home || "/desk";
  const narrow = matchMedia("(max-width: 48rem)");
  const SHAPES = ["●", "◐", "▲", "■"];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

  // ---- the map
  let map = null;
  const layers = {};
  let cellsOf = "";
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const icon = (cls, words, size) => L.divIcon({ className: cls, html: "", iconSize: [size, size] });

  function marker(lat, lng, cls, words, size, title) {
    const made = L.marker([lat, lng], { icon: icon(cls, words, size), title, alt: title, keyboard: false });
    // Text goes in as text: names of places come from outside.
    made.on("add", () => { made.getElement().textContent = words; });
    return made;
  }

  function start() {
    if (!box || typeof L === "undefined") return;
    map = L.map(box, { zoomControl: true, zoomSnap: 0.25, attributionControl: true, zoomAnimation: !still, fadeAnimation: !still, markerZoomAnimation: !still });
    map.attributionControl.setPrefix(false);
    L.control.scale({ imperial: false }).addTo(map);
    map.setView([23.0, 113.0], 12);
    map.createPane("names").style.zIndex = 450;
    for (const name of ["names", "rows", "spots", "place", "chosen"]) layers[name] = L.layerGroup().addTo(map);
    fetch(box.dataset.outline).then((answer) => answer.json()).then((towns) => {
      layers.towns = L.geoJSON(towns, { interactive: false, style: { color: style("--line-strong"), weight: 1.5, fillColor: style("--surface"), fillOpacity: 0.55 } }).addTo(map);
      layers.towns.bringToBack();
      if (!sited()) map.fitBounds(layers.towns.getBounds(), { animate: false });
    }).catch(() => {});
    map.on("moveend", drawNames);
    map.on("click", (event) => choosePoint(event.latlng));
    // Shift and drag goes nearer, and chooses the rows whose places lie in the frame.
    map.on("boxzoomend", (event) => {
      for (const row of all(".item[data-lng]")) {
        const pick = by(".pick", row.parentElement);
        if (pick && !pick.checked && event.boxZoomBounds.contains([Number(row.dataset.lat), Number(row.dataset.lng)])) pick.click();
      }
    });
    drawRows();
    drawCase();
  }
  const shown = () => { const found = by("[data-map]", detail); return found ? JSON.parse(found.dataset.map) : null; };

  const sited = () => { const found = shown(); return Boolean(found && (found.place || found.spots.length)); };

  function drawCells(town) {
    if (!town || town === cellsOf) return;
    cellsOf = town;
    fetch(`${box.dataset.cells}?town=${encodeURIComponent(town)}`).then((answer) => answer.ok ? answer.json() : null).then((cells) => {
      if (!cells) return;
      if (layers.cells) layers.cells.remove();
      layers.cells = L.geoJSON(cells, { interactive: false, style: { color: style("--line"), weight: 1, fill: false } }).addTo(map);
      layers.cells.bringToBack();
      if (layers.towns) layers.towns.bringToBack();
    }).catch(() => {});
  }

  // Names of places and roads, where one is near enough to read them; those that would cover another are left out.
  let asking = null;
  function drawNames() {
    layers.names.clearLayers();
    if (map.getZoom() < 15 || !box.dataset.names) return;
    const view = map.getBounds();
    asking?.abort();
    asking = new AbortController();
    fetch(`${box.dataset.names}?bbox=${view.toBBoxString()}`, { signal: asking.signal }).then((answer) => answer.ok ? answer.json() : []).then((found) => {
      const taken = [];
      for (const label of found) {
        const at = map.latLngToContainerPoint([label.lat, label.lng]);
        const wide = label.name.length * 12 + 10;
        const box = [at.x - 4, at.y - 9, at.x + wide, at.y + 9];
        if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
        taken.push(box);
        const made = L.marker([label.lat, label.lng], { icon: L.divIcon({ className: label.road ? "place-label road" : "place-label", html: "", iconSize: null, iconAnchor: [0, 8] }), interactive: false, keyboard: false, pane: "names" });
        made.on("add", () => { made.getElement().textContent = label.name; });
        layers.names.addLayer(made);
      }
    }).catch(() => {});
  }

  function drawRows() {
    if (!map) return;
    layers.rows.clearLayers();
    const current = by("article.case", detail)?.dataset.number;
    for (const row of all(".item[data-lng]")) {
      if (row.dataset.number === current) continue;
      const colour = Number(row.dataset.colour);
      const made = marker(Number(row.dataset.lat), Number(row.dataset.lng), `row-icon c${colour}`, SHAPES[colour], 18, by(".what", row).textContent.trim().slice(0, 40));
      made.on("click", () => row.click());
      row.mapped = made;
      layers.rows.addLayer(made);
    }
  }

  function drawCase() {
    const found = shown();
    if (!map) return;
    for (const name of ["spots", "place", "chosen"]) layers[name].clearLayers();
    if (!found) return;
    const bounds = L.latLngBounds([]);
    const circle = (spot, dash) => L.circle([spot.lat, spot.lng], { radius: Math.max(5, spot.radius_m || 5), color: style("--accent"), weight: 1.5, dashArray: dash, fillOpacity: 0.08, interactive: false });
    if (found.place) {
      layers.place.addLayer(circle(found.place));
      layers.place.addLayer(marker(found.place.lat, found.place.lng, "here-icon", "✕", 24, `${box.dataset.here} ${found.place.name || ""}`));
      bounds.extend([found.place.lat, found.place.lng]);
    }
    for (const spot of found.spots) {
      layers.spots.addLayer(circle(spot, "4 4"));
      const made = marker(spot.lat, spot.lng, "spot-icon", String(spot.no), 26, `${box.dataset.candidate} ${spot.no} ${spot.name}`);
      made.on("click", () => choose(`spot-${spot.no}`));
      made.spot = spot.no;
      layers.spots.addLayer(made);
      bounds.extend([spot.lat, spot.lng]);
    }
    drawCells(found.town);
    if (bounds.isValid()) map.fitBounds(bounds.pad(0.3), { maxZoom: 16, animate: false });
    else if (layers.towns) map.fitBounds(layers.towns.getBounds(), { animate: false });
    markChoice();
  }

  // ---- the form of the case
  const radio = (value) => by(`#save input[name=place][value="${value}"]`);
  function choose(value) {
    // A candidate that is the place already has no radio of its own.
    const found = radio(value) || by(`#save [data-spot="${value.replace("spot-", "")}"] input`);
    if (!found) return false;
    found.checked = true;
    found.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  }
  function choosePoint(spot) {
    const form = by("#save");
    if (!form) return;
    form.elements.lng.value = spot.lng.toFixed(6);
    form.elements.lat.value = spot.lat.toFixed(6);
    by("#point-words").textContent = `${spot.lng.toFixed(6)}, ${spot.lat.toFixed(6)}`;
    layers.chosen.clearLayers();
    layers.chosen.addLayer(marker(spot.lat, spot.lng, "here-icon", "+", 24, box.dataset.chosen));
    choose("point");
  }
  function markChoice() {
    const value = by("#save input[name=place]:checked")?.value;
    layers.spots?.eachLayer((layer) => layer.getElement?.()?.classList?.toggle("on", layer.spot !== undefined && value === `spot-${layer.spot}`));
  }
  const propose = () => { const part = by("#proposal"); if (part && window.htmx) htmx.trigger(part, "refresh"); };
  document.addEventListener("change", (event) => {
    if (!event.target.closest("#save")) return;
    if (event.target.name === "place") { markChoice(); propose(); }
    if (event.target.name === "category") propose();
    if (event.target.name === "unit" && event.target.value) by('#save input[name=to][value="other"]').checked = true;
  });
  document.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-category]");
    if (!chip) return;
    const field = by("#f-category");
    field.value = chip.dataset.category;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // ---- list and case
  const items = () => all(".item");
  const currentItem = () => by(".item[aria-current]");
  function mark(number) {
    for (const item of items()) item.removeAttribute("aria-current");
    const item = number && document.getElementById(`r-${number}`);
    if (!item) return;
    item.setAttribute("aria-current", "true");
    // Only the list moves: the page stays where the eye is.
    const rows = item.closest(".rows");
    const [line, view] = [item.getBoundingClientRect(), rows.getBoundingClientRect()];
    if (line.top < view.top) rows.scrollTop -= view.top - line.top;
    else if (line.bottom > view.bottom) rows.scrollTop += line.bottom - view.bottom;
  }
  function move(step) {
    const list = items();
    if (!list.length) return;
    const at = list.indexOf(currentItem());
    const next = list[Math.min(list.length - 1, Math.max(0, at + step))];
    if (next && next !== currentItem()) next.click();
  }
  // On a narrow screen the case stands below the list; on a wide one nothing should jump.
  const intoView = () => {
    const top = detail.getBoundingClientRect().top;
    if (top < 0 || top > innerHeight * 0.6) detail.scrollIntoView({ block: "start" });
  };
  // The case that is open already is not fetched again: what was typed meanwhile would be lost.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const item = event.target.closest?.(".item");
    if (item && home === "/unit" && narrow.matches) { event.preventDefault(); location.href = item.href; return; }
    if (!item || !by("form", detail) || by("article.case", detail)?.dataset.number !== item.dataset.number) return;
    event.preventDefault();
    intoView();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target.id === "detail") {
      const number = by("article.case", detail)?.dataset.number;
      mark(number);
      if (number) {
        const address = new URL(location.href);
        address.searchParams.set("case", number);
        history.replaceState(history.state, "", address);
      }
      drawCase();
      detail.scrollTop = 0;
      intoView();
    }
    drawRows();
  });
  document.addEventListener("desk:done", (event) => {
    const { number, action } = event.detail;
    const words = by("[data-said]", detail)?.textContent.trim() || "";
    by("#said").textContent = words;
    const item = document.getElementById(`r-${number}`);
    if (!item) return;
    item.classList.add("done");
    const cell = by(".due-cell", item);
    if (cell) cell.textContent = `✓ ${words.slice(0, 24)}`;
    // After sending a case out the next one is waiting; what was done stays readable in the list.
    if (action === "dispatch") {
      const list = items();
      const next = list.slice(list.indexOf(item) + 1).find((other) => !other.classList.contains("done"));
      if (next) next.click();
    }
  });
  document.addEventListener("mouseover", (event) => {
    const item = event.target.closest(".item");
    all(".row-icon.on").forEach((found) => found.classList.remove("on"));
    item?.mapped?.getElement()?.classList.add("on");
  });

  // ---- keys
  const help = by("#help");
  const enabled = () => localStorage.getItem("keys") !== "off";
  by("#help-open")?.addEventListener("click", () => help.showModal());
  const toggle = by("#keys-on");
  if (toggle) {
    toggle.checked = enabled();
    toggle.addEventListener("change", () => localStorage.setItem("keys", toggle.checked ? "on" : "off"));
  }
  const focus = (selector) => { const found = by(selector); if (found) { found.focus(); found.select?.(); } return Boolean(found); };
  // Opens the form of a step and goes into it; a step that is not on offer does nothing.
  function openStep(...actions) {
    const step = actions.map((action) => by(`details.step[data-action="${action}"]`, detail)).find(Boolean);
    if (!step) return;
    for (let part = step; part; part = part.parentElement?.closest("details")) part.open = true;
    step.scrollIntoView({ block: "nearest" });
    // An answer is written, the text to begin with is only a help.
    (by("[data-brackets]", step) || by("form :is(textarea, select, input:not([type=hidden])), form button", step))?.focus();
  }
  const press = (...actions) => {
    const step = actions.map((action) => by(`details.step[data-action="${action}"] form`, detail)).find(Boolean);
    step?.requestSubmit();
  };
  const UNIT_KEYS = {
    s: () => (by(".pick:checked") ? by("#many").requestSubmit() : press("sign", "share_sign")),
    x: () => by(".pick", currentItem()?.parentElement)?.click(),
    r: () => openStep("reply", "share_reply", "supervise_reply"),
    e: () => openStep("extend_ask"),
    b: () => openStep("return", "share_return"),
    n: () => openStep("note"),
  };
  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    a: () => choose("spot-1") || choose("keep"),
    d: () => by('#save button[value="dispatch"]')?.click(),
    x: () => by(".pick", currentItem()?.parentElement)?.click(),
    c: () => focus("#f-category"),
    u: () => focus("#f-unit"),
    n: () => by('.toolbar [data-key="n"]')?.click(),
    t: () => by('.toolbar [data-key="t"]')?.click(),
    "/": () => focus("#search"),
    "?": () => help.showModal(),
    1: () => choose("spot-1"),
    2: () => choose("spot-2"),
    3: () => choose("spot-3"),
    ...(home === "/unit" ? UNIT_KEYS : {}),
  };
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input:not([type=radio], [type=checkbox]), textarea, select, [contenteditable]");
    if (event.key === "Escape" && field) { field.blur(); return; }
    if (field || help?.open || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !enabled()) return;
    if (event.key === "Enter" && home === "/unit") {
      // A link or button under the focus does what it says.
      if (event.target.closest("a:not(.item), button, summary")) return;
      const item = event.target.closest(".item") || currentItem();
      if (item) { event.preventDefault(); location.href = item.href; }
      return;
    }
    if (event.key === "Enter" && event.target.closest(".item")) { setTimeout(() => focus("#save input, #save select"), 300); return; }
    const act = KEYS[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  // ---- counts and colleagues, as they change
  const list = by("[data-live]");
  let source = null;
  function hear(event) {
    const { counts, handlers } = JSON.parse(event.data);
    for (const part of all("[data-count]")) {
      const n = counts[part.dataset.count];
      if (Number.isInteger(n)) part.textContent = n.toLocaleString("en");
    }
    for (const item of items()) {
      const name = handlers[item.dataset.number];
      let mark = by(".handler", item);
      if (!name) { mark?.remove(); continue; }
      if (!mark) {
        mark = document.createElement("span");
        mark.className = "tag handler";
        by(".line", item).append(mark);
      }
      mark.textContent = list.dataset.handled.replace("{name}", name);
    }
  }
  function listen() {
    if (!list || source) return;
    source = new EventSource(list.dataset.live);
    source.addEventListener("desk", hear);
  }
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", listen);

  // What stands above the panes is as high as it is: their height is the rest of the window.
  const panes = by(".desk.unit");
  const fit = () => panes?.style.setProperty("--above", `${panes.getBoundingClientRect().top + scrollY + 12}px`);
  addEventListener("resize", fit);

  document.addEventListener("DOMContentLoaded", () => {
    fit();
    start();
    mark(by("article.case", detail)?.dataset.number);
  });
})();
