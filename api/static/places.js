// A quiet small map: the towns' outlines as vectors, no foreign tiles, a metric scale. Other faces may use it, too:
// wanggeMap(element) → {map, ready}; the element names the outline in data-outline.
"use strict";
window.wanggeMap = function wanggeMap(element) {
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const map = L.map(element, { zoomControl: true, attributionControl: true, keyboard: true });
  map.attributionControl.setPrefix(false);
  L.control.scale({ imperial: false }).addTo(map);
  map.setView([23, 113], 11);
  const ready = fetch(element.dataset.outline, { credentials: "same-origin" })
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
    .then((outline) => {
      const layer = L.geoJSON(outline, {
        style: { color: token("--line-strong"), weight: 1.5, fillColor: token("--surface"), fillOpacity: 1 },
        interactive: false,
        onEachFeature: (feature, shape) => {
          const name = feature.properties && (feature.properties.short || feature.properties.name);
          if (name) shape.bindTooltip(document.createTextNode(name).textContent.replace(/[<>&]/g, ""), { permanent: true, direction: "center", className: "town-name" });
        },
      }).addTo(map);
      if (layer.getBounds().isValid()) map.fitBounds(layer.getBounds());
      return layer;
    })
    .catch(() => null);
  return { map, ready };
};
