// The report form: position, point on the map, a draft that survives a closed page, and a report that survives a dead
// line. The form works without this file; everything here only helps. A kept report is sent again with the same key.
"use strict";
(() => {
  const form = document.getElementById("report");
  const DRAFT = "wangge.draft";
  const database = () => idb.openDB("wangge", 1, { upgrade: (db) => db.createObjectStore("waiting", { keyPath: "key" }) });
  if (document.getElementById("receipt")) {
    localStorage.removeItem(DRAFT);
    return;
  }
  if (!form) return;
  const field = (name) => form.elements.namedItem(name);
  const kept = document.getElementById("kept");
  const problem = document.getElementById("problem");
  const words = document.getElementById("place-words");
  const say = (text) => { kept.textContent = text; kept.hidden = !text; };

  // Draft: text and place only; name and telephone are not left behind in a shared browser.
  const restore = () => {
    try {
      const draft = JSON.parse(localStorage.getItem(DRAFT) || "null");
      if (draft && draft.text && !field("text").value) {
        for (const name of ["text", "place", "lng", "lat", "key"]) if (draft[name]) field(name).value = draft[name];
        say(form.dataset.draft);
        field("text").dispatchEvent(new Event("input", { bubbles: true }));
      }
    } catch { localStorage.removeItem(DRAFT); }
  };
  const keep = () => {
    const draft = {};
    for (const name of ["text", "place", "lng", "lat", "key"]) draft[name] = field(name).value;
    if (draft.text.trim()) localStorage.setItem(DRAFT, JSON.stringify(draft));
    else localStorage.removeItem(DRAFT);
  };
  form.addEventListener("input", keep);

  // The point.
  let marker = null;
  let small = null;
  const box = document.getElementById("map");
  const remove = document.getElementById("no-place");
  const setPoint = (lng, lat, note) => {
    field("lng").value = lng === null ? "" : lng.toFixed(6);
    field("lat").value = lat === null ? "" : lat.toFixed(6);
    remove.hidden = lng === null;
    words.textContent = note;
    if (small) {
      if (marker) marker.remove();
      marker = lng === null ? null : L.circleMarker([lat, lng], { radius: 10, weight: 3, color: "#b3261e", fillOpacity: 0.4 }).addTo(small.map);
      if (marker) small.map.setView([lat, lng], Math.max(small.map.getZoom(), 14), { animate: false });
      if (guess && marker) guess.remove();
    }
    keep();
    document.body.dispatchEvent(new Event("placed"));
  };
  // The place that was understood from the text, drawn until the resident points somewhere else.
  let guess = null;
  const showGuess = () => {
    if (guess) guess.remove();
    guess = null;
    const found = document.querySelector("#understood [data-lng]");
    if (!small || !found || field("lng").value) return;
    const at = [parseFloat(found.dataset.lat), parseFloat(found.dataset.lng)];
    const radius = Math.max(20, parseFloat(found.dataset.radius));
    guess = L.circle(at, { radius, color: "#1c5fa8", weight: 2, fillOpacity: 0.15, interactive: false }).addTo(small.map);
    small.map.fitBounds(guess.getBounds(), { maxZoom: 14, animate: false });
  };
  document.body.addEventListener("htmx:afterSwap", showGuess);
  const here = document.getElementById("here");
  if ("geolocation" in navigator) {
    here.hidden = false;
    here.addEventListener("click", () => {
      words.textContent = words.dataset.waiting;
      navigator.geolocation.getCurrentPosition(
        (at) => setPoint(at.coords.longitude, at.coords.latitude,
          `${words.dataset.taken} · ${words.dataset.exact.replace("{n}", Math.max(5, Math.round(at.coords.accuracy)))}`),
        () => { words.textContent = words.dataset.failed; },
        { enableHighAccuracy: true, timeout: 15000, maximumAge: 60000 },
      );
    });
  }
  const opener = document.getElementById("open-map");
  if (window.L && window.wanggeMap) {
    opener.hidden = false;
    opener.addEventListener("click", () => {
      box.hidden = !box.hidden;
      opener.setAttribute("aria-expanded", String(!box.hidden));
      if (!small && !box.hidden) {
        small = wanggeMap(box);
        small.map.on("click", (event) => setPoint(event.latlng.lng, event.latlng.lat, words.dataset.taken));
        const lng = parseFloat(field("lng").value);
        small.ready.then(() => {
          if (Number.isNaN(lng)) showGuess();
          else setPoint(lng, parseFloat(field("lat").value), words.textContent);
        });
      } else if (small) small.map.invalidateSize();
    });
  }
  remove.addEventListener("click", () => setPoint(null, null, ""));

  const chosen = document.getElementById("photo-words");
  field("photo").addEventListener("change", () => {
    const files = field("photo").files;
    chosen.textContent = files.length ? chosen.dataset.chosen.replace("{n}", files.length) : "";
  });

  // Sending: by fetch, so that a dead line loses nothing.
  const freshToken = async () => {
    const page = await (await fetch("/progress", { credentials: "same-origin" })).text();
    const found = /name="csrf-token" content="([0-9a-f]+)"/.exec(page);
    return found ? found[1] : "";
  };
  const post = async (entries) => {
    const data = new FormData();
    for (const [name, value] of entries) data.append(name, value);
    const send = () => fetch("/report", { method: "POST", body: data, credentials: "same-origin", headers: { "HX-Request": "true" } });
    let answer = await send();
    if (answer.status === 403) {
      data.set("csrf_token", await freshToken());
      answer = await send();
    }
    return answer;
  };
  const store = async (entries) => {
    const db = await database();
    await db.put("waiting", { key: field("key").value, entries });
  };
  const arrived = async (answer, key) => {
    const db = await database();
    await db.delete("waiting", key);
    localStorage.removeItem(DRAFT);
    location.assign(answer.url);
  };
  const button = document.getElementById("send");
  const label = button.textContent;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const entries = [...new FormData(form)].filter(([name, value]) => name !== "photo" || value.size > 0);
    const key = field("key").value;
    button.disabled = true;
    button.textContent = form.dataset.sending;
    problem.replaceChildren();
    try {
      const answer = await post(entries);
      if (answer.redirected) { await arrived(answer, key); return; }
      if (answer.status === 503) throw new Error("503");
      // What cannot be sent like this is shown and stays in the form.
      problem.innerHTML = await answer.text();
      problem.scrollIntoView({ block: "start" });
    } catch {
      await store(entries);
      say(form.dataset.kept);
      kept.scrollIntoView({ block: "start" });
    }
    button.disabled = false;
    button.textContent = label;
  });
  let busy = false;
  const again = async () => {
    if (busy || !window.idb) return;
    busy = true;
    try {
      const db = await database();
      for (const { key, entries } of await db.getAll("waiting")) {
        say(form.dataset.kept);
        const answer = await post(entries);
        if (answer.redirected) { await arrived(answer, key); return; }
        if (answer.status !== 503 && answer.status !== 429) {
          await db.delete("waiting", key);
          problem.innerHTML = await answer.text();
          say("");
        }
      }
    } catch { /* still no line: the next turn tries again */ } finally { busy = false; }
  };
  window.addEventListener("online", again);
  setInterval(again, 15000);
  restore();
  again();
})();
