// The editor's map: Leaflet with Geoman over our own ground; knows shapes and hands, not what a stroke means.
"use strict";
(() => {
  if (!window.L || !L.PM) return;
  const SAME = 1e-10;
  const near = (a, b) => Math.abs(a.lat - b.lat) < SAME && Math.abs(a.lng - b.lng) < SAME;
  const flat = (list) => (Array.isArray(list) ? list.flatMap(flat) : [list]);
  const at = (list, path) => path.reduce((found, i) => found[i], list);
  const path = { interactive: false, pmIgnore: true };

  window.WanggeGridMap = (box, told, on) => {
    const map = L.map(box, { zoomSnap: 0.25, zoomControl: true, attributionControl: true, keyboard: true, maxZoom: 21 });
    map.attributionControl.setPrefix(false).addAttribution(on.words.attribution);
    map.zoomControl.remove();
    L.control.zoom({ zoomInTitle: on.words.zoomIn, zoomOutTitle: on.words.zoomOut }).addTo(map);
    L.control.scale({ imperial: false }).addTo(map);
    map.pm.setLang(document.documentElement.lang.startsWith("zh") ? "zh" : "en");
    for (const one of told.neighbours) L.geoJSON(one.geometry, { ...path, style: { className: "g-neighbour" } }).addTo(map);
    for (const one of told.lines) L.geoJSON(one.geometry, { ...path, style: { className: `g-line g-${one.kind} g-${one.rank || "plain"}` } }).addTo(map);
    if (told.outline) L.geoJSON(told.outline, { ...path, style: { className: "g-outline" } }).addTo(map);
    const group = L.featureGroup().addTo(map);
    const others = L.geoJSON(null, { ...path, style: { className: "g-other" } }).addTo(map);
    const layers = new Map();
    let editing = null, held = null, quiet = 0;

    const ring = (layer) => layer.toGeoJSON(false).geometry;
    const asked = (event) => event.originalEvent && (event.originalEvent.ctrlKey || event.originalEvent.metaKey || event.originalEvent.shiftKey);
    const area = (layer) => {
      let m2 = 0;
      for (const part of layer.getLatLngs()) part.forEach((points, i) => {
        const scale = Math.cos((points[0].lat * Math.PI) / 180) * 111320 * 110574;
        let twice = 0;
        points.forEach((p, k) => { const q = points[(k + 1) % points.length]; twice += p.lng * q.lat - q.lng * p.lat; });
        m2 += (i ? -1 : 1) * Math.abs(twice / 2) * scale;
      });
      return m2;
    };
    const label = (cell, m2) => `${cell.code.slice(12)}${cell.households === null ? "" : ` · ${cell.estimated ? "≈" : ""}${cell.households}`}`
      + (m2 ? ` · ${on.words.hectares.replace("{n}", (m2 / 10000).toFixed(2))}` : "");

    // A corner that neighbours share moves in all of them at once, while the hand is on it; the server has the last word.
    function grab(code, event) {
      const spot = at(layers.get(code).layer.getLatLngs(), event.indexPath);
      held = { follow: [] };
      for (const [other, { layer }] of layers) {
        if (other === code) continue;
        const points = flat(layer.getLatLngs()).filter((point) => near(point, spot));
        if (points.length) held.follow.push([layer, points]);
      }
    }
    function pull(code, event) {
      const spot = event.markerEvent.target.getLatLng();
      for (const [layer, points] of held ? held.follow : []) {
        for (const point of points) { point.lat = spot.lat; point.lng = spot.lng; }
        layer.redraw();
      }
      for (const { layer, cell } of layers.values()) layer.setTooltipContent(label(cell, layer === layers.get(code).layer || held?.follow.some(([l]) => l === layer) ? area(layer) : 0));
    }
    function drop(code) {
      held = null;
      clearTimeout(quiet);
      // Geoman tells of one drag by several events.
      quiet = setTimeout(() => {
        const shapes = {};
        for (const [other, { layer, before }] of layers) if (JSON.stringify(ring(layer)) !== before) shapes[other] = ring(layer);
        if (shapes[code]) on.drag(code, shapes);
      }, 60);
    }
    function edit(code) {
      const found = layers.get(code);
      if (!found) return;
      editing = code;
      box.dataset.editing = code;
      found.layer.bringToFront();
      found.layer.pm.enable({ snappable: true, snapDistance: 12, allowSelfIntersection: false, allowRemoval: true });
    }
    function stop() {
      if (editing && layers.has(editing)) layers.get(editing).layer.pm.disable();
      editing = null;
      delete box.dataset.editing;
      map.pm.disableDraw();
    }
    map.on("pm:create", (event) => {
      const geometry = event.layer.toGeoJSON(false).geometry;
      event.layer.remove();
      if (event.shape === "Line") on.line(geometry);
      else on.draw(geometry);
    });

    function make(cell, picked, fresh) {
      const parts = L.GeoJSON.coordsToLatLngs(cell.geometry.coordinates, 2);
      const layer = L.polygon(parts, { className: `g-cell g-${cell.kind}${picked ? " chosen" : ""}${fresh ? " changed" : ""}`, pmIgnore: false });
      layer.bindTooltip(label(cell), { permanent: true, direction: "center", className: "g-label" });
      layer.on("click", (event) => { if (!map.pm.globalDrawModeEnabled() && !editing) on.choose(cell.code, asked(event)); });
      layer.on("pm:markerdragstart", (event) => grab(cell.code, event));
      layer.on("pm:markerdrag", (event) => pull(cell.code, event));
      layer.on("pm:markerdragend pm:vertexremoved", () => drop(cell.code));
      layer.addTo(group);
      const drawnPath = layer.getElement();
      if (drawnPath) {
        drawnPath.setAttribute("tabindex", "0");
        drawnPath.setAttribute("role", "button");
        drawnPath.setAttribute("aria-pressed", String(picked));
        drawnPath.setAttribute("aria-label", on.words.cell.replace("{code}", cell.code));
        drawnPath.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          event.stopPropagation();
          on.choose(cell.code, true);
        });
      }
      layers.set(cell.code, { layer, cell, before: JSON.stringify(ring(layer)) });
    }
    let shown = false;
    return {
      draw(cells, chosen, changed) {
        const again = editing, focus = document.activeElement?.getAttribute?.("aria-label");
        stop();
        group.clearLayers();
        layers.clear();
        for (const cell of cells) make(cell, chosen.has(cell.code), changed(cell));
        if (again && layers.has(again)) edit(again);
        if (focus) box.querySelector(`path[aria-label="${focus}"]`)?.focus();
        if (!shown && cells.length) { map.fitBounds(group.getBounds(), { padding: [12, 12], animate: false }); shown = true; }
        if (!shown && told.outline) { map.fitBounds(L.geoJSON(told.outline).getBounds(), { animate: false }); shown = true; }
      },
      corners(code) { if (editing === code) stop(); else { stop(); edit(code); } },
      drawLine() { stop(); map.pm.enableDraw("Line", { snappable: true, snapDistance: 12, allowSelfIntersection: false }); },
      drawPolygon() { stop(); map.pm.enableDraw("Polygon", { snappable: true, snapDistance: 12, allowSelfIntersection: false }); },
      stop,
      whole() { if (layers.size) map.fitBounds(group.getBounds(), { padding: [12, 12], animate: false }); },
      other(shapes) { others.clearLayers(); others.addData(shapes); },
    };
  };
})();
