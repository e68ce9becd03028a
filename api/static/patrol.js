// The grid worker's form: the phone's position or a point on the map. The form works without this file.
"use strict";
(() => {
  const form = document.getElementById("patrol");
  if (!form) return;
  const words = document.getElementById("place-words");
  const set = (lng, lat, note) => {
    form.elements.namedItem("lng").value = lng.toFixed(6);
    form.elements.namedItem("lat").value = lat.toFixed(6);
    words.textContent = note;
    if (!small) return;
    if (marker) marker.remove();
    marker = L.circleMarker([lat, lng], { radius: 10, weight: 3, color: "#b3261e", fillOpacity: 0.4 }).addTo(small.map);
    small.map.setView([lat, lng], Math.max(small.map.getZoom(), 15), { animate: false });
  };
  let marker = null;
  let small = null;
  const box = document.getElementById("map");
  if (window.L && window.wanggeMap) {
    box.hidden = false;
    small = wanggeMap(box);
    small.map.on("click", (event) => set(event.latlng.lng, event.latlng.lat, words.dataset.taken));
    small.ready.then(() => {
      const [lng, lat] = ["lng", "lat"].map((name) => parseFloat(form.elements.namedItem(name).value));
      if (!Number.isNaN(lng) && !Number.isNaN(lat)) set(lng, lat, words.dataset.taken);
    });
  }
  const here = document.getElementById("here");
  if ("geolocation" in navigator) {
    here.hidden = false;
    here.addEventListener("click", () => {
      words.textContent = words.dataset.waiting;
      navigator.geolocation.getCurrentPosition(
        (at) => set(at.coords.longitude, at.coords.latitude,
          `${words.dataset.taken} · ${words.dataset.exact.replace("{n}", Math.max(5, Math.round(at.coords.accuracy)))}`),
        () => { words.textContent = words.dataset.failed; },
        { enableHighAccuracy: true, timeout: 15000, maximumAge: 60000 },
      );
    });
  }
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  });
})();
