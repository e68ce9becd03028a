// The live map: own tiles, quiet base, open cases by deadline state; the list beside it follows the view.
// Words and addresses come from the page (data-facts); colours from the page's own tokens, so that themes agree.

const canvas = document.getElementById("map-canvas");
const form = document.getElementById("map-filter");
const list = document.getElementById("map-list");
const facts = JSON.parse(canvas.dataset.facts);
const words = facts.words;
const REFRESH_MS = 20_000;

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
const element = (tag, css, text) => {
  const made = document.createElement(tag);
  if (css) made.className = css;
  if (text !== undefined) made.textContent = text;
  return made;
};

let map = null;
let popup = null;
let drawn = false;

function filters() {
  const data = new FormData(form);
  const chosen = {};
  for (const [name, value] of data) if (value) chosen[name] = value;
  return chosen;
}

function spanWords(seconds) {
  const minutes = Math.floor(Math.abs(seconds) / 60);
  const days = Math.floor(minutes / 1440);
  const hours = Math.floor((minutes % 1440) / 60);
  if (days) return fill(words.days, { days, hours });
  if (hours) return fill(words.hours, { hours, minutes: minutes % 60 });
  return fill(words.minutes, { minutes });
}

// --- the address and the list -------------------------------------------------------------------------------------

function address() {
  const query = new URLSearchParams(filters());
  if (map) {
    const centre = map.getCenter();
    query.set("at", [map.getZoom().toFixed(2), centre.lng.toFixed(5), centre.lat.toFixed(5)].join("/"));
  }
  const text = query.toString().replaceAll("%2F", "/");
  history.replaceState(null, "", text ? `/map?${text}` : "/map");
}

let pending = 0;
let asked = 0;
function refreshList(wait = 250) {
  clearTimeout(pending);
  pending = setTimeout(async () => {
    const query = new URLSearchParams(filters());
    query.delete("heat");
    if (map) {
      const view = map.getBounds();
      const box = [view.getWest(), view.getSouth(), view.getEast(), view.getNorth()];
      const within = [Math.max(box[0], -180), Math.max(box[1], -90), Math.min(box[2], 180), Math.min(box[3], 90)];
      query.set("box", within.map((n) => n.toFixed(6)).join(","));
    }
    const turn = ++asked;
    try {
      const answer = await fetch(`/map/list?${query}`, { headers: { "HX-Request": "true" } });
      const html = await answer.text();
      if (turn !== asked) return;
      if (!answer.ok) {
        document.getElementById("problem").innerHTML = html;
        return;
      }
      const focused = list.contains(document.activeElement) && document.activeElement.closest("li")?.dataset.number;
      list.innerHTML = html;
      equip(focused);
    } catch {
      document.body.dispatchEvent(new CustomEvent("htmx:sendError", { bubbles: true }));
    }
  }, wait);
}

function equip(focused) {
  for (const button of list.querySelectorAll("[data-show]")) button.hidden = !drawn;
  if (focused) {
    const line = list.querySelector(`li[data-number="${CSS.escape(focused)}"]`);
    line?.querySelector("a, button:not([hidden])")?.focus({ preventScroll: true });
  }
}

function choose(number) {
  for (const line of list.querySelectorAll("li[data-number]")) line.classList.toggle("chosen", line.dataset.number === number);
}

list.addEventListener("click", (event) => {
  const line = event.target.closest("li[data-number]");
  if (!map || !line || !event.target.closest("[data-show]")) return;
  const lngLat = [Number(line.dataset.lng), Number(line.dataset.lat)];
  choose(line.dataset.number);
  map.easeTo({ center: lngLat, zoom: Math.max(map.getZoom(), 15) });
  map.once("idle", () => {
    const here = map.queryRenderedFeatures(map.project(lngLat), { layers: ["cases"] });
    const found = here.find((feature) => feature.properties.number === line.dataset.number);
    if (found) showCard(found.properties, lngLat);
  });
  if (matchMedia("(max-width: 60rem)").matches) canvas.scrollIntoView({ block: "center" });
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  filtersChanged();
});
form.addEventListener("change", () => filtersChanged());
form.querySelector("button").parentElement.hidden = true;

function filtersChanged() {
  if (map && drawn) applyFilters();
  address();
  refreshList(0);
}

// --- the card --------------------------------------------------------------------------------------------------------

function showCard(properties, lngLat) {
  const card = element("div");
  const due = facts.due[properties.colour] ?? facts.due[0];
  const number = properties.number;
  card.append(element("p", "cardhead", ""));
  card.firstChild.append(element("strong", "", `${number.slice(0, 8)} ${number.slice(8, -1)} ${number.slice(-1)}`));
  const state = element("p", `due ${due.css}`);
  state.append(element("span", "", `${due.shape} ${due.word} `));
  if (properties.due) {
    const left = properties.due - Date.now() / 1000;
    const time = element("time", "left", fill(left >= 0 ? words.left : words.over, { span: spanWords(left) }));
    time.title = new Date(properties.due * 1000).toLocaleString("sv-SE", { timeZone: "Asia/Shanghai" });
    state.append(time);
  } else {
    state.append(element("span", "left", words.noLimit));
  }
  card.append(state);
  const top = Object.keys(facts.tops).find((code) => properties.category.startsWith(code));
  const about = [top && facts.tops[top], facts.states[properties.state] ?? properties.state].filter(Boolean);
  card.append(element("p", "", about.join(" · ")));
  const link = element("a", "button", words.open);
  link.href = facts.casePage + encodeURIComponent(number);
  card.append(link);
  open(card, lngLat);
  choose(number);
}

function showCell(properties, lngLat) {
  const card = element("div");
  card.append(element("p", "cardhead", fill(words.cell, { code: properties.code })));
  card.append(element("p", "", facts.cellKinds[properties.kind] ?? properties.kind));
  card.append(element("p", "", fill(words.openHere, { n: properties.open })));
  open(card, lngLat);
}

let Popup = null;
function open(card, lngLat) {
  popup?.remove();
  popup = new Popup({ closeButton: true, maxWidth: "20rem", focusAfterOpen: false }).setLngLat(lngLat).setDOMContent(card).addTo(map);
  popup.getElement().querySelector(".maplibregl-popup-close-button")?.setAttribute("aria-label", words.close);
}

// --- the picture -----------------------------------------------------------------------------------------------------

// The four states by colour and shape, as in every list: a disc, a half disc, a triangle, a square.
function shape(index, size = 40) {
  const pen = new OffscreenCanvas(size, size).getContext("2d");
  const half = size / 2;
  const r = size * 0.34;
  const colour = token(`--${facts.due[index].css}`);
  pen.lineJoin = "round";
  pen.lineWidth = size * 0.16;
  pen.strokeStyle = token("--surface");
  pen.fillStyle = colour;
  const outline = new Path2D();
  if (index === 2) {
    outline.moveTo(half, half - r * 1.05);
    outline.lineTo(half + r * 1.1, half + r * 0.85);
    outline.lineTo(half - r * 1.1, half + r * 0.85);
    outline.closePath();
  } else if (index === 3) {
    outline.rect(half - r * 0.9, half - r * 0.9, r * 1.8, r * 1.8);
  } else {
    outline.arc(half, half, r, 0, 2 * Math.PI);
  }
  pen.stroke(outline);
  if (index === 1) {
    pen.fillStyle = token("--surface");
    pen.fill(outline);
    pen.lineWidth = size * 0.08;
    pen.strokeStyle = colour;
    pen.stroke(outline);
    pen.fillStyle = colour;
    const left = new Path2D();
    left.arc(half, half, r, Math.PI / 2, -Math.PI / 2);
    pen.fill(left);
  } else {
    pen.fill(outline);
  }
  return pen.getImageData(0, 0, size, size);
}

function tiles(layer) {
  return [`${location.origin}/tiles/${layer}/{z}/{x}/{y}.mvt`];
}

function style() {
  const vector = (layer, minzoom, maxzoom) => ({ type: "vector", tiles: tiles(layer), minzoom, maxzoom });
  const label = (id, source, layer, size, minzoom, maxzoom) => ({
    id, source, "source-layer": layer, type: "symbol", minzoom, maxzoom,
    layout: { "text-field": ["get", "name"], "text-size": size, "text-font": ["sans-serif"], "text-padding": 6 },
    paint: { "text-color": token("--text"), "text-halo-color": token("--surface"), "text-halo-width": 2 },
  });
  const line = (id, source, layer, colour, width, minzoom) => ({
    id, source, "source-layer": layer, type: "line", minzoom,
    layout: { "line-join": "round" }, paint: { "line-color": colour, "line-width": width },
  });
  const heat = (id, source, layer, visibility) => ({
    id, source, "source-layer": layer, type: "heatmap", layout: { visibility },
    paint: {
      "heatmap-weight": ["interpolate", ["linear"], ["ln", ["+", 1, ["get", "n"]]], 0, 0.05, 7, 1],
      "heatmap-radius": ["interpolate", ["linear"], ["zoom"], 8, 12, 14, 28],
      "heatmap-intensity": ["interpolate", ["linear"], ["zoom"], 8, 0.6, 16, 1.6],
      "heatmap-opacity": 0.75,
      "heatmap-color": ["interpolate", ["linear"], ["heatmap-density"],
        0, "rgba(253,224,168,0)", 0.2, "#fde0a8", 0.5, "#f3a35c", 0.8, "#d9603b", 1, "#97201f"],
    },
  });
  const sources = {
    towns: vector("towns", 0, 13),
    communities: vector("communities", 11, 14),
    cells: vector("cells", 12, 15),
    cases: vector("cases", 6, 16),
  };
  const layers = [
    { id: "ground", type: "background", paint: { "background-color": token("--bg") } },
    { id: "land", source: "towns", "source-layer": "towns", type: "fill", paint: { "fill-color": token("--surface") } },
    { id: "cell-area", source: "cells", "source-layer": "cells", type: "fill", minzoom: 12,
      paint: { "fill-color": token("--accent"), "fill-opacity": ["interpolate", ["linear"], ["get", "open"], 0, 0, 30, 0.16] } },
    line("cell-line", "cells", "cells", token("--line"), 0.6, 12),
    line("community-line", "communities", "communities", token("--line"), 1.2, 11),
    line("town-line", "towns", "towns", token("--line-strong"), 1.4, 0),
  ];
  if (facts.mayHeat) {
    sources.heat = vector("heat", 6, 16);
    layers.push(heat("heat", "heat", "heat", form.elements.heat?.checked ? "visible" : "none"));
  }
  layers.push(
    heat("crowd", "cases", "crowd", "visible"),
    { id: "cases", source: "cases", "source-layer": "cases", type: "symbol",
      layout: {
        "icon-image": ["concat", "due-", ["to-string", ["get", "colour"]]],
        "icon-size": ["interpolate", ["linear"], ["zoom"], 9, 0.26, 11.5, 0.4, 13, 0.65, 15, 1],
        "icon-allow-overlap": true, "icon-ignore-placement": true,
        "symbol-sort-key": ["get", "colour"],
      } },
    label("town-name", "towns", "towns_names", 15, 8, 13),
    label("community-name", "communities", "communities_names", 13, 12.5, 24),
  );
  return { version: 8, sources, layers };
}

function applyFilters() {
  const chosen = filters();
  const all = ["all"];
  if (chosen.town) all.push(["==", ["get", "town"], chosen.town]);
  if (chosen.state) all.push(["==", ["get", "state"], chosen.state]);
  if (chosen.colour) all.push(["==", ["get", "colour"], Number(chosen.colour)]);
  if (chosen.category) all.push(["==", ["slice", ["get", "category"], 0, chosen.category.length], chosen.category]);
  if (chosen.days) all.push([">=", ["get", "received"], Math.floor(Date.now() / 1000) - Number(chosen.days) * 86400]);
  map.setFilter("cases", all.length > 1 ? all : null);
  if (facts.mayHeat) map.setLayoutProperty("heat", "visibility", chosen.heat ? "visible" : "none");
  document.getElementById("map-heat-legend").hidden = !chosen.heat;
}

function fallback() {
  document.querySelector("main").classList.add("mapless");
  const box = document.getElementById("map-fallback");
  box.replaceChildren(element("p", "", words.noMap));
  box.hidden = false;
  canvas.hidden = true;
  map = null;
  drawn = false;
  equip();
}

async function start() {
  const kept = new URLSearchParams(location.search).get("at")?.split("/").map(Number);
  const placed = kept?.length === 3 && kept.every(Number.isFinite);
  let gl, ground;
  try {
    [gl, ground] = await Promise.all([
      import(facts.library),
      fetch("/map/outline.geojson").then((answer) => answer.json()),
    ]);
    gl.setWorkerUrl(new URL(facts.worker, location.origin).href);
    Popup = gl.Popup;
    map = new gl.Map({
      container: canvas,
      style: style(),
      ...(placed ? { zoom: kept[0], center: [kept[1], kept[2]] } : { bounds: ground.bbox ?? [72, 10, 138, 55], fitBoundsOptions: { padding: 16 } }),
      minZoom: 6, maxZoom: 18, dragRotate: false, pitchWithRotate: false, touchPitch: false,
      attributionControl: { compact: false, customAttribution: `${words.source} · ${ground.district ?? ""}` },
      localIdeographFontFamily: token("--font"),
      locale: {
        "NavigationControl.ZoomIn": words.zoomIn, "NavigationControl.ZoomOut": words.zoomOut,
        "Map.Title": words.map, "Popup.Close": words.close,
        "AttributionControl.ToggleAttribution": words.sources,
      },
    });
  } catch {
    fallback();
    return;
  }
  map.touchZoomRotate.disableRotation();
  map.addControl(new gl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new gl.ScaleControl({ unit: "metric" }), "bottom-left");
  map.on("styledata", () => {
    for (const index of [0, 1, 2, 3]) if (!map.hasImage(`due-${index}`)) map.addImage(`due-${index}`, shape(index), { pixelRatio: 2 });
  });
  map.on("load", () => {
    drawn = true;
    document.getElementById("map-legend").hidden = false;
    applyFilters();
    refreshList(0);
    canvas.dataset.ready = "1";
  });
  map.on("moveend", () => {
    address();
    refreshList();
  });
  map.on("mousemove", (event) => {
    const over = drawn && map.queryRenderedFeatures(event.point, { layers: ["cases"] }).at(0);
    map.getCanvas().style.cursor = over ? "pointer" : "";
    choose(over ? over.properties.number : popup?.isOpen() ? popup.number : null);
  });
  map.on("click", (event) => {
    const reach = [[event.point.x - 8, event.point.y - 8], [event.point.x + 8, event.point.y + 8]];
    const hit = map.queryRenderedFeatures(reach, { layers: ["cases"] }).at(0);
    if (hit) {
      showCard(hit.properties, hit.geometry.coordinates);
      popup.number = hit.properties.number;
      return;
    }
    const cell = map.getZoom() >= 12 && map.queryRenderedFeatures(event.point, { layers: ["cell-area"] }).at(0);
    if (cell) showCell(cell.properties, event.lngLat);
  });
  setInterval(() => {
    if (document.hidden || !drawn) return;
    for (const source of ["cells", "cases", ...(facts.mayHeat ? ["heat"] : [])]) map.refreshTiles(source);
    refreshList(0);
  }, REFRESH_MS);
}

start();
