// The map without a line: the cells' pack drawn on canvas under Leaflet, the cells, and what lies in them.
import { keptBlob } from "./store.js";
import { Pack } from "./tiles.js";
import { h } from "./ui.js";
import { t } from "./words.js";

let loading = null;

/** Load Leaflet when a map is first wanted: the first screen does not wait for it. */
export function leaflet() {
  loading ??= new Promise((loaded, failed) => {
    document.head.append(h("link", { rel: "stylesheet", href: "/static/vendor/leaflet/leaflet.css" }));
    document.head.append(h("script", { src: "/static/vendor/leaflet/leaflet.js", load: () => loaded(window.L), error: failed }));
  });
  return loading;
}

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * Draw a map into an element and return {map, L, end}. cells: GeoJSON or null. Gestures: on a map inside a page one
 * finger scrolls the page, unless it is the page's main thing.
 */
export async function makeMap(box, { cells = null, main = false } = {}) {
  const L = await leaflet();
  const map = L.map(box, {
    preferCanvas: true, zoomControl: false, attributionControl: false, minZoom: 11, maxZoom: 19, dragging: true,
    zoomAnimation: false, fadeAnimation: false, markerZoomAnimation: false, keyboard: main,
  });
  L.control.zoom({ position: "topright", zoomInTitle: t("Closer"), zoomOutTitle: t("Farther") }).addTo(map);
  L.control.scale({ imperial: false, position: "topright" }).addTo(map);
  const kept = await keptBlob("map").catch(() => null);
  if (kept) {
    try {
      packLayer(L, await Pack.open(kept.blob)).addTo(map);
    } catch (error) {
      box.before(h("p", { class: "hint" }, t("The kept map cannot be read; it is fetched again with the next line.")));
      console.warn(error);
    }
  }
  let drawn = null;
  if (cells?.features.length) {
    drawn = L.geoJSON(cells, { interactive: false, style: { color: token("accent"), weight: 3, fillOpacity: 0.06 } }).addTo(map);
    map.fitBounds(drawn.getBounds(), { padding: [8, 8], animate: false });
  } else map.setView([23, 113], 13);
  const watch = new ResizeObserver(() => map.invalidateSize({ animate: false }));
  watch.observe(box);
  return { map, L, cells: drawn, end: () => { watch.disconnect(); map.remove(); } };
}

/** Return a Leaflet layer that draws tiles of a pack in the theme's colours. Zooms beyond the pack's enlarge its last. */
function packLayer(L, pack) {
  const Layer = L.GridLayer.extend({
    createTile(at, done) {
      const tile = h("canvas", {});
      const size = this.getTileSize();
      const sharp = Math.min(2, window.devicePixelRatio || 1);
      [tile.width, tile.height] = [size.x * sharp, size.y * sharp];
      const native = Math.min(at.z, pack.zooms[1]);
      const times = 2 ** (at.z - native);
      pack.tile(native, Math.floor(at.x / times), Math.floor(at.y / times)).then((found) => {
        if (found) drawTile(tile.getContext("2d"), found, { edge: size.x * sharp * times, z: at.z, sharp, left: (at.x % times) * size.x * sharp, top: (at.y % times) * size.y * sharp });
        done(null, tile);
      }, (error) => done(error, tile));
      return tile;
    },
  });
  return new Layer({ minZoom: pack.zooms[0], maxZoom: 19, className: "pack" });
}

const WIDTHS = { motorway: 5, trunk: 5, primary: 4.5, secondary: 4, tertiary: 3.5, residential: 2.5, service: 1.5, footway: 1 };

function drawTile(pen, found, { edge, z, sharp, left, top }) {
  const scaled = (layer) => ([x, y]) => [x * edge / layer.extent - left, y * edge / layer.extent - top];
  const path = (layer, one) => {
    const put = scaled(layer);
    pen.beginPath();
    for (const line of one.lines) line.forEach((point, i) => pen[i ? "lineTo" : "moveTo"](...put(point)));
  };
  for (const [name, fill] of [["estates", token("sunken")], ["water", token("half-tint")]]) {
    const layer = found[name];
    for (const one of layer?.features ?? []) {
      path(layer, one);
      pen.fillStyle = pen.strokeStyle = fill;
      if (one.kind === 3) pen.fill("evenodd");
      else { pen.lineWidth = 3 * sharp; pen.stroke(); }
    }
  }
  const roads = found.roads;
  pen.lineCap = pen.lineJoin = "round";
  for (const casing of [true, false]) {
    for (const one of roads?.features ?? []) {
      const width = (WIDTHS[one.tags.kind] ?? 2.5) * sharp * (z >= 16 ? 1.8 : 1);
      path(roads, one);
      pen.lineWidth = casing ? width + 2 * sharp : width;
      pen.strokeStyle = casing ? token("line-strong") : token("surface");
      pen.stroke();
    }
  }
  names(pen, found, { scaled, z, sharp });
}

/** Write names where there is room: one name does not stand on another. */
function names(pen, found, { scaled, z, sharp }) {
  const taken = [];
  const write = (words, [x, y], size, colour) => {
    pen.font = `${size * sharp}px ${token("font")}`;
    const wide = pen.measureText(words).width;
    const box = [x - wide / 2, y - size * sharp, x + wide / 2, y + 4];
    // A name over the edge of a tile would be cut off.
    if (box[0] < 0 || box[1] < 0 || box[2] > pen.canvas.width || box[3] > pen.canvas.height) return false;
    if (taken.some((one) => one[0] < box[2] && box[0] < one[2] && one[1] < box[3] && box[1] < one[3])) return false;
    taken.push(box);
    pen.textAlign = "center";
    pen.lineWidth = 3 * sharp;
    pen.strokeStyle = token("bg");
    pen.strokeText(words, x, y);
    pen.fillStyle = colour;
    pen.fillText(words, x, y);
    return true;
  };
  const spots = (layer, one) => {
    const line = one.lines[0].map(scaled(layer));
    const between = line.slice(1).flatMap(([x, y], i) => [0.5, 0.25, 0.75].map((share) => [line[i][0] + (x - line[i][0]) * share, line[i][1] + (y - line[i][1]) * share]));
    return [...between, line[0]];
  };
  for (const [name, tag, from, size] of [["places", "name", 15, 12], ["roads", "name", 14, 11], ["estates", "name", 15, 12], ["addresses", "house_no", 18, 11]]) {
    const layer = found[name];
    if (z < from) continue;
    for (const one of layer?.features ?? []) {
      if (one.tags[tag] && one.lines[0]?.length) spots(layer, one).some((at) => write(String(one.tags[tag]), at, size, token(name === "places" ? "text" : "muted")));
    }
  }
}

/** Show where the phone is, with how sure it is of it. Returns a function that moves it. */
export function standing(L, map) {
  const ring = L.circle([0, 0], { radius: 1, weight: 1, color: token("accent"), fillOpacity: 0.15, interactive: false });
  const dot = L.circleMarker([0, 0], { radius: 7, weight: 3, color: token("surface"), fillColor: token("accent"), fillOpacity: 1, interactive: false });
  return (at) => {
    ring.setLatLng([at.lat, at.lng]).setRadius(at.accuracy);
    dot.setLatLng([at.lat, at.lng]);
    if (!map.hasLayer(ring)) { ring.addTo(map); dot.addTo(map); }
  };
}
