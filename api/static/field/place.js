// Where things are: distances, the order of a walk, the phone's position, and which cell a point lies in.
const RADIUS_M = 6371008.8;
const rad = (degrees) => degrees * Math.PI / 180;

/** Metres between two [lng, lat] on the sphere; within 0.6 % of the ellipsoid. */
export function apart(a, b) {
  const dy = rad(b[1] - a[1]);
  const dx = rad(b[0] - a[0]);
  const x = Math.sin(dy / 2) ** 2 + Math.cos(rad(a[1])) * Math.cos(rad(b[1])) * Math.sin(dx / 2) ** 2;
  return 2 * RADIUS_M * Math.asin(Math.min(1, Math.sqrt(x)));
}

/**
 * Order points for a walk from where one stands: the nearest first, then crossings undone (2-opt) while that shortens the
 * way. points: [[lng, lat]…]; returns indexes. The way does not come back. Straight lines: streets bend all ways alike.
 */
export function route(from, points) {
  const left = new Set(points.keys());
  const order = [];
  let at = from;
  while (left.size) {
    let best = -1;
    let least = Infinity;
    for (const one of left) {
      const far = apart(at, points[one]);
      if (far < least) [best, least] = [one, far];
    }
    order.push(best);
    left.delete(best);
    at = points[best];
  }
  const place = (i) => (i < 0 ? from : points[order[i]]);
  for (let better = true, rounds = 0; better && rounds < 30; rounds += 1) {
    better = false;
    for (let i = 0; i < order.length - 1; i += 1) {
      for (let j = i + 1; j < order.length; j += 1) {
        const now = apart(place(i - 1), place(i)) + (j + 1 < order.length ? apart(place(j), place(j + 1)) : 0);
        const then = apart(place(i - 1), place(j)) + (j + 1 < order.length ? apart(place(i), place(j + 1)) : 0);
        if (then < now - 0.5) {
          order.splice(i, j - i + 1, ...order.slice(i, j + 1).reverse());
          better = true;
        }
      }
    }
  }
  return order;
}

/** Leave out points of a line that lie within tolerance_m of it (Douglas–Peucker). points: [[lng, lat, …]…]. */
export function thinned(points, tolerance_m) {
  if (points.length < 3) return points;
  const kept = new Set([0, points.length - 1]);
  const open = [[0, points.length - 1]];
  const east = Math.cos(rad(points[0][1]));
  const flat = points.map(([lng, lat]) => [rad(lng) * east * RADIUS_M, rad(lat) * RADIUS_M]);
  while (open.length) {
    const [first, last] = open.pop();
    let far = 0;
    let worst = -1;
    for (let i = first + 1; i < last; i += 1) {
      const off = fromSegment(flat[i], flat[first], flat[last]);
      if (off > far) [far, worst] = [off, i];
    }
    if (far > tolerance_m) {
      kept.add(worst);
      open.push([first, worst], [worst, last]);
    }
  }
  return points.filter((_, i) => kept.has(i));
}

function fromSegment(p, a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const long = dx * dx + dy * dy;
  const share = long ? Math.max(0, Math.min(1, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / long)) : 0;
  return Math.hypot(p[0] - a[0] - share * dx, p[1] - a[1] - share * dy);
}

/** Return the feature that a point lies in, or null. features: GeoJSON polygons, lon lat. */
export function inside(features, [x, y]) {
  return features.find((one) => {
    const parts = one.geometry.type === "Polygon" ? [one.geometry.coordinates] : one.geometry.coordinates;
    return parts.some((rings) => rings.reduce((odd, ring) => odd !== crosses(ring, x, y), false));
  }) ?? null;
}

function crosses(ring, x, y) {
  let odd = false;
  for (let i = 0, j = ring.length - 1; i < ring.length; j = i, i += 1) {
    const [[ax, ay], [bx, by]] = [ring[i], ring[j]];
    if ((ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}

let last = null;

/** The newest known position {lng, lat, accuracy, at}, or null; never asks. */
export const lastKnown = () => last;

const taken = ({ coords, timestamp }) => {
  // Some phones count from their start; what is not near their own clock is taken as now.
  const at = Math.abs(timestamp - Date.now()) < 3600000 ? timestamp : Date.now();
  last = { lng: coords.longitude, lat: coords.latitude, accuracy: Math.round(coords.accuracy), at: new Date(at).toISOString() };
  return last;
};

/** Ask the phone where it is; null when it does not tell within the time. A position of the last half minute will do. */
export function whereAmI(most_ms = 12000) {
  if (!("geolocation" in navigator)) return Promise.resolve(null);
  return new Promise((found) => {
    navigator.geolocation.getCurrentPosition((at) => found(taken(at)), () => found(null),
      { enableHighAccuracy: true, timeout: most_ms, maximumAge: 30000 });
  });
}

/** Follow the phone; calls back with each position. Returns a function that ends it. */
export function follow(each, { exact = true } = {}) {
  if (!("geolocation" in navigator)) return () => {};
  const watch = navigator.geolocation.watchPosition((at) => each(taken(at)), () => {},
    { enableHighAccuracy: exact, maximumAge: 10000, timeout: 60000 });
  return () => navigator.geolocation.clearWatch(watch);
}
