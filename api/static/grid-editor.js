// The map editor of the grid: the cells of one community, changed on the map or in the list, planned as one change.
// The server computes every stroke (/api/v1/grid/moves), so that no gap and no overlap arises; this keeps the strokes,
// undoes them, and keeps unsaved work in the browser.
"use strict";
(() => {
  const root = document.getElementById("editor");
  if (!root) return;
  const facts = JSON.parse(root.dataset.facts);
  const W = facts.words;
  const KEY = `wangge-grid-editor:${facts.community}`;
  const MOST_UNDO = 30;
  const el = (id) => document.getElementById(id);
  const say = (words, known = {}) => words.replace(/\{(\w+)\}/g, (_, name) => known[name] ?? "");
  const csrf = document.querySelector('meta[name="csrf-token"]').content;
  const number = new Intl.NumberFormat(document.documentElement.lang);
  const ask = window.WanggeGridMap ? window.WanggeGridMap : null;

  let base = [];        // what stands in the database
  let seen = {};        // code → version
  let cells = [];       // what stands in the editor
  let deeds = [];       // kinds of the strokes that led here
  let past = [], future = [];
  let chosen = new Set();
  let figures = {};
  let busy = false, timer = 0, map = null;

  // --- what stands here ---
  const plain = (feature) => ({
    code: feature.properties.code, kind: feature.properties.kind, households: feature.properties.households,
    estimated: Boolean(feature.properties.estimated), m2: feature.properties.m2, geometry: feature.geometry,
  });
  const feature = (cell) => ({
    type: "Feature", geometry: cell.geometry,
    properties: { code: cell.code, kind: cell.kind, households: cell.households, estimated: cell.estimated },
  });
  const collection = (list) => ({ type: "FeatureCollection", features: list.map(feature) });
  const alike = (one, other) => one && other && one.kind === other.kind && one.households === other.households
    && one.estimated === other.estimated && sameGround(one, other);
  const sameGround = (one, other) => JSON.stringify(one.geometry) === JSON.stringify(other.geometry);
  const byCode = (list) => new Map(list.map((cell) => [cell.code, cell]));
  const changed = () => {
    const before = byCode(base), after = byCode(cells);
    return {
      takes: base.filter((cell) => !alike(cell, after.get(cell.code))).map((cell) => cell.code),
      made: cells.filter((cell) => !alike(before.get(cell.code), cell)),
    };
  };

  function commit(next, kind) {
    past.push({ cells, deeds });
    if (past.length > MOST_UNDO) past.shift();
    future = [];
    cells = next.sort((a, b) => (a.code < b.code ? -1 : 1));
    deeds = [...deeds, kind];
    settle();
  }
  function step(from, to) {
    const found = from.pop();
    if (!found || busy) return;
    to.push({ cells, deeds });
    ({ cells, deeds } = found);
    settle();
  }
  function settle() {
    chosen = new Set([...chosen].filter((code) => cells.some((cell) => cell.code === code)));
    keep();
    draw();
    clearTimeout(timer);
    timer = setTimeout(count, 250);
  }

  // --- unsaved work survives a reload ---
  function keep() {
    try {
      if (!deeds.length) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, JSON.stringify({ seen, cells, deeds, past: past.slice(-10), future: future.slice(-10) }));
    } catch {
      tell(W.notKept, "warn");
    }
  }
  function restore() {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(KEY)); } catch { localStorage.removeItem(KEY); }
    if (!kept || !Array.isArray(kept.cells) || !kept.deeds?.length) return;
    const others = Object.keys({ ...kept.seen, ...seen }).filter((code) => kept.seen[code] !== seen[code]);
    if (others.length) {
      tell(say(W.changedMeanwhile, { codes: others.map(short).join("、") }), "warn", [
        [W.startAnew, () => { localStorage.removeItem(KEY); tell(""); }],
        [W.lookAtMine, () => { take(kept); tell(""); }],
      ]);
      return;
    }
    take(kept);
    tell(say(W.restored, { n: kept.deeds.length }), "", [[W.startAnew, discard]]);
  }
  function take(kept) {
    ({ cells, deeds } = kept);
    past = kept.past || [];
    future = kept.future || [];
    // What it was planned on is what the plan is checked against.
    seen = kept.seen;
    draw();
    count();
  }
  function discard() {
    localStorage.removeItem(KEY);
    past = []; future = []; deeds = []; cells = base;
    chosen.clear();
    tell("");
    load();
  }

  // --- the server ---
  async function send(address, body, method = "POST") {
    let answer;
    try {
      answer = await fetch(address, {
        method, headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrf },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch {
      tell(W.offline, "bad");
      return null;
    }
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) return told;
    if (answer.status === 401) tell(W.signIn, "bad");
    else tell(told.detail || told.title || W.refused, "bad");
    if (told.other) showOther(told.other);
    return null;
  }
  async function move(kind, more = {}) {
    if (busy) return false;
    work(true);
    const told = await send("/api/v1/grid/moves", { community: facts.community, cells: collection(cells), kind, ...more });
    work(false);
    if (!told) {
      draw();
      return false;
    }
    const taken = new Set(told.takes);
    const made = told.cells.features.map(plain);
    commit([...cells.filter((cell) => !taken.has(cell.code)), ...made], told.kind);
    chosen = new Set(made.slice(0, 1).map((cell) => cell.code));
    tell(say(W.done, { codes: made.map((cell) => short(cell.code)).join("、") || "—" }));
    draw();
    return true;
  }
  async function count() {
    if (!cells.length) return;
    const answer = await fetch("/api/v1/grid/figures", {
      method: "POST", headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRF-Token": csrf },
      body: JSON.stringify({ community: facts.community, cells: collection(cells), weights: weights() }),
    }).catch(() => null);
    const told = answer && answer.ok ? await answer.json() : null;
    figures = told ? Object.fromEntries(told.cells.map((one) => [one.code, one])) : {};
    drawFigures(told);
    drawList();
  }
  async function propose() {
    work(true);
    tell(W.drawing);
    const told = await send("/api/v1/grid/proposals", { community: facts.community, weights: weights() });
    work(false);
    if (!told) return;
    const made = told.cells.features.map((one) => ({
      code: one.properties.code, kind: one.properties.kind, households: one.properties.households,
      estimated: told.figures.basis !== "counted", m2: one.properties.area_km2 * 1e6,
      geometry: one.geometry.type === "Polygon" ? { type: "MultiPolygon", coordinates: [one.geometry.coordinates] } : one.geometry,
    }));
    commit(made, "redraw");
    chosen.clear();
    tell([say(W.proposed, { n: made.length }), ...told.notes.map((note) => note.text)].join(" "));
    draw();
  }
  const weights = () => Object.fromEntries([...document.querySelectorAll("#weights input")].map((one) => [one.name, Number(one.value)]));

  async function load() {
    const told = await send(`/api/v1/grid/editor/${facts.community}`, undefined, "GET");
    if (!told) return;
    base = told.cells.features.map(plain);
    seen = Object.fromEntries(told.cells.features.map((one) => [one.properties.code, one.properties.version]));
    cells = base;
    deeds = [];
    if (ask && !map) map = ask(el("grid-map"), told, { choose, drag, line, draw: drawn, words: W });
    restore();
    draw();
    count();
  }
  async function showOther(id) {
    const other = await send(`/api/v1/grid/changes/${id}`, undefined, "GET");
    if (!other) return;
    if (map) map.other(other.after.features.length ? other.after : other.before);
    const link = document.createElement("a");
    link.href = `/grid/changes/${id}`;
    link.textContent = say(W.otherChange, { name: other.planned_name });
    el("told").append(" ", link);
  }

  // --- strokes ---
  const one = () => (chosen.size === 1 ? [...chosen][0] : (tell(W.chooseOne, "warn"), null));
  function choose(code, more) {
    if (!more) chosen = new Set(chosen.size === 1 && chosen.has(code) ? [] : [code]);
    else if (chosen.has(code)) chosen.delete(code);
    else chosen.add(code);
    draw();
  }
  const drag = (code, shapes) => move("drag", { codes: [code], shapes });
  function line(geometry) {
    const code = one();
    return code ? move("line", { codes: [code], line: geometry }) : draw();
  }
  const drawn = (geometry) => move("draw", { shape: geometry, to_kind: el("f-new-kind").value });
  const actions = {
    undo: () => step(past, future),
    redo: () => step(future, past),
    merge: () => (chosen.size < 2 ? tell(W.chooseTwo, "warn") : move("merge", { codes: [...chosen] })),
    count: () => { const code = one(); if (code) move("count", { codes: [code], count: Number(el("f-count").value) }); },
    roads: () => { const code = one(); if (code) move("roads", { codes: [code], count: Number(el("f-count").value) }); },
    void: () => { const code = one(); if (code) move("void", { codes: [code], into: el("f-into").value.replace("-", "") }); },
    describe: () => {
      const code = one();
      const homes = el("f-households").value.trim();
      if (code) move("describe", { codes: [code], to_kind: el("f-kind").value, households: homes === "" ? null : Number(homes) });
    },
    propose,
    discard,
    corners: () => { const code = one(); if (code && map) map.corners(code); },
    line: () => { if (one() && map) map.drawLine(); },
    polygon: () => map && map.drawPolygon(),
    stop: () => map && map.stop(),
    whole: () => map && map.whole(),
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (button && !busy) actions[button.dataset.do]();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea")) return;
    const key = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && key === "z") { event.preventDefault(); actions[event.shiftKey ? "redo" : "undo"](); }
    else if ((event.ctrlKey || event.metaKey) && key === "y") { event.preventDefault(); actions.redo(); }
    else if (key === "escape" && map) map.stop();
  });
  window.addEventListener("beforeunload", keep);

  // --- the plan ---
  el("plan").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { takes, made } = changed();
    if (!takes.length && !made.length) return tell(W.nothing, "warn");
    work(true);
    const token = await upload();
    if (token === null) return work(false);
    const kinds = new Set(deeds);
    const grounds = made.every((cell) => { const old = base.find((b) => b.code === cell.code); return old && sameGround(old, cell); });
    const kind = grounds && takes.length === made.length ? "describe" : kinds.size === 1 && !kinds.has("describe") ? deeds[0] : "redraw";
    const told = await send("/api/v1/grid/changes", {
      kind, takes, seen: Object.fromEntries(takes.map((code) => [code, seen[code]]).filter((pair) => pair[1])),
      cells: collection(made), valid_from: el("p-day").value || null, reason: el("p-reason").value,
      document: el("p-document").value, file: token, bare: el("p-bare").checked,
    });
    work(false);
    if (!told) return;
    localStorage.removeItem(KEY);
    deeds = [];
    location.assign(told.page);
  });
  async function upload() {
    const file = el("p-file").files[0];
    if (!file) return "";
    const body = new FormData();
    body.append("file", file);
    const answer = await fetch("/grid/editor/file", { method: "POST", headers: { "X-CSRF-Token": csrf, Accept: "application/json" }, body }).catch(() => null);
    const told = answer ? await answer.json().catch(() => ({})) : {};
    if (answer && answer.ok) return told.token;
    tell(told.detail || W.offline, "bad");
    return null;
  }

  // --- what is shown ---
  const short = (code) => code.slice(12);
  const hectares = (m2) => (m2 / 10000).toFixed(2);
  function tell(words, tone = "", buttons = []) {
    const box = el("told");
    box.className = `notice ${tone}`;
    box.hidden = !words;
    box.replaceChildren(words);
    for (const [label, act] of buttons) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = label;
      button.addEventListener("click", act);
      box.append(" ", button);
    }
  }
  function work(on) {
    busy = on;
    root.setAttribute("aria-busy", String(on));
    el("working").hidden = !on;
  }
  function draw() {
    const before = byCode(base);
    if (map) map.draw(cells, chosen, (cell) => !alike(before.get(cell.code), cell));
    drawList();
    for (const button of root.querySelectorAll("[data-do]")) {
      const need = button.dataset.need;
      button.disabled = (need === "one" && chosen.size !== 1) || (need === "two" && chosen.size < 2)
        || (button.dataset.do === "undo" && !past.length) || (button.dataset.do === "redo" && !future.length)
        || (button.dataset.do === "discard" && !deeds.length) || (need === "map" && !map);
    }
    const { takes, made } = changed();
    el("plan-what").textContent = takes.length || made.length
      ? say(W.plan, { takes: takes.map(short).join("、") || "—", made: made.map((cell) => short(cell.code)).join("、") || "—" }) : W.nothing;
    const picked = chosen.size === 1 ? cells.find((cell) => chosen.has(cell.code)) : null;
    if (picked) {
      el("f-kind").value = picked.kind;
      el("f-households").value = picked.households ?? "";
    }
    const into = el("f-into"), was = into.value;
    into.replaceChildren(...cells.filter((c) => !chosen.has(c.code)).map((c) => new Option(short(c.code), c.code)), new Option(W.leaveBare, "-"));
    into.value = [...into.options].some((option) => option.value === was) ? was : into.options[0].value;
  }
  function drawList() {
    const before = byCode(base);
    const held = document.activeElement?.dataset?.code;
    el("cells").replaceChildren(...cells.map((cell) => {
      const row = document.createElement("tr");
      const old = before.get(cell.code);
      row.className = chosen.has(cell.code) ? "chosen" : "";
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = chosen.has(cell.code);
      box.dataset.code = cell.code;
      box.setAttribute("aria-label", say(W.cell, { code: cell.code }));
      box.addEventListener("change", () => choose(cell.code, true));
      const counted = figures[cell.code];
      const homes = cell.households ?? counted?.households;
      const sure = cell.households !== null && !cell.estimated;
      const state = !old ? W.fresh : alike(old, cell) ? "" : W.changed;
      const texts = [short(cell.code) + (state && ` ${state}`), facts.kinds[cell.kind], homes === undefined ? "—" : (sure ? "" : "≈ ") + number.format(homes),
        hectares(cell.m2), counted ? counted.compactness.toFixed(2) : "—"];
      const first = document.createElement("td");
      first.append(box);
      row.append(first, ...texts.map((words, i) => {
        const td = document.createElement("td");
        td.textContent = words;
        if (i > 1) td.className = "num";
        if (i === 2 && counted && counted.within === false) { td.classList.add("out"); td.title = W.outside; }
        return td;
      }));
      row.addEventListener("click", (event) => { if (event.target !== box) choose(cell.code, event.ctrlKey || event.metaKey || event.shiftKey); });
      return row;
    }));
    el("cell-count").textContent = say(W.cells, { n: cells.length });
    if (held) el("cells").querySelector(`[data-code="${held}"]`)?.focus();
  }
  function drawFigures(told) {
    const percent = (share) => (share === null || share === undefined ? "—" : `${Math.round(100 * share)} %`);
    const lines = told ? [
      [W.homes, number.format(told.households)], [say(W.within, { fewest: told.limits.fewest, most: told.limits.most }), percent(told.within)],
      [W.variation, told.variation.toFixed(2)], [W.compactness, told.compactness.toFixed(2)], [W.onLines, percent(told.on_lines)],
      [W.cutEstates, told.estates ? `${told.cut_estates} / ${told.estates}` : "—"], [W.basis, told.basis_words],
    ] : [[W.figures, "—"]];
    el("figures").replaceChildren(...lines.flatMap(([name, value]) => {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = value;
      return [dt, dd];
    }));
  }
  load();
})();
