// The import's map: communities, the file's cells, and every finding; linked with the list. The list works without it.
"use strict";
(() => {
  const box = document.getElementById("import-map");
  if (!box || !window.L) return;
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  box.textContent = box.dataset.loading;
  const lines = new Map([...document.querySelectorAll("[data-finding]")].map((line) => [Number(line.dataset.finding), line]));
  const text = (words) => Object.assign(document.createElement("span"), { textContent: words });
  const start = ({ communities, cells, findings }) => {
    box.textContent = "";
    const map = L.map(box, { preferCanvas: true, zoomSnap: 0.25, attributionControl: false, maxZoom: 22 });
    L.control.scale({ imperial: false }).addTo(map);
    const grave = (one) => one.properties.severity === "refuses";
    const style = (one) => ({
      color: token(grave(one) ? "--over" : "--near"), weight: 3, fillOpacity: grave(one) ? 0.45 : 0.1,
    });
    const plain = { interactive: false };
    const drawn = L.geoJSON({ type: "FeatureCollection", features: cells }, {
      style: { color: token("--line-strong"), weight: 1, fillOpacity: 0.04 },
      onEachFeature: (one, layer) => layer.bindTooltip(() => text(`${one.properties.code} ${one.properties.name}`), { sticky: true }),
    }).addTo(map);
    L.geoJSON({ type: "FeatureCollection", features: communities }, {
      ...plain, style: { color: token("--text"), weight: 2.5, fill: false },
    }).addTo(map);
    const shapes = new Map();
    let lit = null;
    const light = (id, go) => {
      if (lit !== null) {
        lines.get(lit)?.classList.remove("lit");
        shapes.get(lit)?.setStyle?.({ weight: 3 });
      }
      lit = id;
      lines.get(id)?.classList.add("lit");
      const shape = shapes.get(id);
      if (!shape) return;
      shape.setStyle?.({ weight: 6 });
      shape.bringToFront?.();
      if (go) map.fitBounds(shape.getBounds ? shape.getBounds() : shape.getLatLng().toBounds(60), { maxZoom: 19, padding: [40, 40], animate: false });
    };
    // Slivers vanish when one sees a whole district: a ring of fixed size stands for each.
    const rings = L.featureGroup().addTo(map);
    const weigh = (one) => (grave(one) ? 1 : 0);
    findings.sort((a, b) => weigh(a) - weigh(b));
    for (const one of findings) {
      const layer = L.geoJSON(one, {
        style, pointToLayer: (_, at) => L.circleMarker(at, { radius: 9, ...style(one) }),
      }).addTo(map);
      shapes.set(one.id, layer);
      layer.on("click", () => {
        light(one.id, false);
        lines.get(one.id)?.scrollIntoView({ block: "nearest" });
      });
      const bounds = layer.getBounds();
      if (bounds.isValid()) L.circleMarker(bounds.getCenter(), { radius: 5, weight: 2, fill: false, color: token(grave(one) ? "--over" : "--near"), interactive: false }).addTo(rings);
    }
    const near = () => { if (map.getZoom() >= 17) rings.remove(); else rings.addTo(map); };
    map.on("zoomend", near);
    const all = L.featureGroup([drawn]);
    const bounds = all.getBounds();
    if (bounds.isValid()) map.fitBounds(bounds, { padding: [12, 12], animate: false });
    else map.setView([23, 113], 10);
    near();
    for (const [id, line] of lines) {
      const button = line.querySelector("[data-show]");
      if (!button || !shapes.has(id)) continue;
      button.hidden = false;
      button.addEventListener("click", () => light(id, true));
    }
    box.dataset.ready = String(findings.length);
  };
  fetch(box.dataset.from, { credentials: "same-origin" })
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
    .then(start)
    .catch(() => { box.textContent = box.dataset.failed; box.classList.add("notice", "warn"); });
})();
