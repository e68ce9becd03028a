// A quiet small map: the towns' outlines as vectors, their cells from close by, no foreign tiles, a metric scale.
// wanggeMap(element) → {map, ready}; the element names the outline in data-outline and, if it likes, cells in data-cells.
"use strict";
window.wanggeMap = function wanggeMap(element) {
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const map = L.map(element, { zoomControl: true, attributionControl: true, keyboard: true, zoomSnap: 0.25 });
  map.attributionControl.setPrefix(false);
  L.control.scale({ imperial: false }).addTo(map);
  map.setView([23, 113], 11);
  const read = (address) =>
    fetch(address, { credentials: "same-origin" }).then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)));
  // Names are data and go in as text, never as markup.
  const named = (shape, name) => {
    const words = document.createElement("span");
    words.textContent = name;
    shape.bindTooltip(words, { permanent: true, direction: "center", className: "town-name" });
  };
  const towns = [];
  const drawn = new Set();
  const closer = () => {
    if (!element.dataset.cells || map.getZoom() < 13) return;
    for (const { code, bounds } of towns) {
      if (drawn.has(code) || !bounds.intersects(map.getBounds())) continue;
      drawn.add(code);
      read(`${element.dataset.cells}?town=${encodeURIComponent(code)}`)
        .then((cells) => L.geoJSON(cells, { style: { color: token("--line"), weight: 1, fill: false }, interactive: false }).addTo(map))
        .catch(() => drawn.delete(code));
    }
  };
  const ready = read(element.dataset.outline)
    .then((outline) => {
      const layer = L.geoJSON(outline, {
        style: { color: token("--line-strong"), weight: 1.5, fillColor: token("--surface"), fillOpacity: 1 },
        interactive: false,
        onEachFeature: (feature, shape) => {
          towns.push({ code: String(feature.id), bounds: shape.getBounds() });
          const words = feature.properties && (feature.properties.short || feature.properties.name);
          if (words) named(shape, words);
        },
      }).addTo(map);
      if (layer.getBounds().isValid()) map.fitBounds(layer.getBounds(), { padding: [8, 8], animate: false });
      map.on("moveend zoomend", closer);
      return layer;
    })
    .catch(() => null);
  return { map, ready };
};
