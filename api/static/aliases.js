// The map beside the names of places: the spots that wait by their number, and the place of a new name by a click.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const box = document.getElementById("map");
  const form = document.getElementById("propose");
  if (!box || typeof L === "undefined") return;
  const { map, ready } = wanggeMap(box);
  const marker = (spot, cls, words, title) => {
    const made = L.marker([spot.lat, spot.lng], { icon: L.divIcon({ className: cls, html: "", iconSize: [26, 26] }), title, alt: title, keyboard: false });
    // Names are data and go in as text.
    made.on("add", () => { made.getElement().textContent = words; });
    return made.addTo(map);
  };
  let chosen = null;
  const point = document.getElementById("point");
  const choose = (spot) => {
    chosen?.remove();
    chosen = marker(spot, "here-icon", "✓", box.dataset.chosen);
    form.elements.lng.value = spot.lng.toFixed(6);
    form.elements.lat.value = spot.lat.toFixed(6);
    point.textContent = `${spot.lng.toFixed(5)}, ${spot.lat.toFixed(5)}`;
  };
  ready.then(() => {
    const bounds = L.latLngBounds([]);
    for (const spot of JSON.parse(box.dataset.spots)) {
      const made = marker(spot, "spot-icon", String(spot.no), `${spot.no} ${spot.name}`);
      made.on("click", () => document.querySelector(`[data-name="${spot.no}"]`)?.scrollIntoView({ block: "center" }));
      bounds.extend([spot.lat, spot.lng]);
    }
    const given = { lng: Number(form.elements.lng.value), lat: Number(form.elements.lat.value) };
    if (given.lng && given.lat) { choose(given); bounds.extend([given.lat, given.lng]); }
    if (bounds.isValid()) map.fitBounds(bounds.pad(0.4), { maxZoom: 16, animate: false });
  });
  map.on("click", (event) => choose(event.latlng));
  // Words typed for another place outweigh a point that was chosen before.
  form.elements.place.addEventListener("input", () => {
    chosen?.remove();
    form.elements.lng.value = "";
    form.elements.lat.value = "";
    point.textContent = "";
  });
});
