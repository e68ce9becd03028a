// The grid office's map: cells coloured by one figure, linked with the list by pointer, focus and choice.
"use strict";
(() => {
  const box = document.getElementById("office-map");
  if (!box || !window.L) return;
  const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const map = L.map(box, { preferCanvas: true, zoomSnap: 0.25, attributionControl: false });
  L.control.scale({ imperial: false }).addTo(map);
  map.setView([23, 113], 11);
  const by = box.dataset.by;
  const rows = new Map([...document.querySelectorAll("tr[data-cell]")].map((row) => [row.dataset.cell, row]));
  const ramp = ["--surface", "--fine", "--half", "--near", "--over"];
  const step = (cell) => {
    if (by === "covered") return cell.covered >= 80 ? 1 : cell.covered >= 50 ? 2 : cell.covered >= 25 ? 3 : 4;
    if (by === "households") return cell.households === null ? 0 : cell.outside ? 4 : 1;
    const n = cell[by];
    return n === 0 ? 0 : n <= 2 ? 1 : n <= 5 ? 2 : n <= 9 ? 3 : 4;
  };
  const style = (cell, listed) => ({
    color: token("--line-strong"), weight: 1, fillColor: token(ramp[step(cell)]),
    fillOpacity: step(cell) === 0 ? 0.9 : 0.55, opacity: listed ? 1 : 0.35,
  });
  const shapes = new Map();
  let lit = null;
  const light = (code, { scroll = false } = {}) => {
    if (lit === code) return;
    if (lit && shapes.has(lit)) shapes.get(lit).shape.setStyle({ weight: 1, color: token("--line-strong") });
    rows.get(lit)?.classList.remove("lit");
    lit = code;
    if (!code || !shapes.has(code)) return;
    shapes.get(code).shape.setStyle({ weight: 4, color: token("--accent") }).bringToFront();
    const row = rows.get(code);
    row?.classList.add("lit");
    if (scroll) row?.scrollIntoView({ block: "nearest" });
  };
  // What people wrote goes in as text, never as markup.
  const told = (cell) => {
    const words = document.createElement("div");
    const head = document.createElement("strong");
    head.textContent = cell.name;
    words.append(head);
    const figure = by === "covered" ? `${cell.covered} %` : by === "households" && cell.households === null ? box.dataset.none : String(cell[by]);
    for (const line of [`${box.dataset[by]}: ${figure}`, cell.who || box.dataset.nobody]) {
      words.append(document.createElement("br"), line);
    }
    return words;
  };
  fetch(box.dataset.from, { credentials: "same-origin" })
    .then((answer) => (answer.ok ? answer.json() : Promise.reject(answer.status)))
    .then(({ cells, shapes: grounds }) => {
      const all = L.featureGroup();
      for (const [code, cell] of Object.entries(cells)) {
        if (!grounds[code]) continue;
        const listed = !box.dataset.listed || rows.has(code);
        const shape = L.geoJSON(grounds[code], { style: style(cell, listed) });
        shapes.set(code, { shape, cell });
        shape.bindTooltip(() => told(cell), { sticky: true });
        shape.on("mouseover", () => light(code, { scroll: true }));
        shape.on("click", () => { location.assign(`/grid/cells/${encodeURIComponent(code)}`); });
        all.addLayer(shape);
      }
      all.addTo(map);
      if (all.getBounds().isValid()) map.fitBounds(all.getBounds(), { padding: [8, 8], animate: false });
      for (const [code, row] of rows) {
        row.addEventListener("mouseenter", () => light(code));
        row.addEventListener("focusin", () => light(code));
      }
      box.dataset.drawn = String(shapes.size);
    })
    .catch(() => {
      const words = document.createElement("p");
      words.className = "notice warn";
      words.textContent = box.dataset.failed;
      box.replaceWith(words);
    });
})();
