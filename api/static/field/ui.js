// How a screen is put together: elements, icons, times in words, and the line that says what happened. Knows no data.
import { language, t } from "./words.js";

const SHAPES = {
  today: "M4 5h16v15H4zM4 10h16M8 3v4M16 3v4",
  map: "M3 6l6-2 6 2 6-2v14l-6 2-6-2-6 2zM9 4v14M15 6v14",
  camera: "M3 8h4l2-3h6l2 3h4v12H3zM12 17a4 4 0 1 0 0-8 4 4 0 0 0 0 8z",
  outbox: "M4 13v6h16v-6M12 3v11M7 8l5-5 5 5",
  more: "M4 6h16M4 12h16M4 18h16",
  back: "M14 5l-7 7 7 7",
  mic: "M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11v1a6 6 0 0 0 12 0v-1M12 18v3",
  stop: "M6 6h12v12H6z",
  pin: "M12 21s7-6.5 7-11a7 7 0 0 0-14 0c0 4.5 7 11 7 11zM12 12a2 2 0 1 0 0-4 2 2 0 0 0 0 4z",
  check: "M4 13l5 5L20 7",
  walk: "M13 4a1.5 1.5 0 1 0 .1 0zM9 21l3-6-2-4 2-4 3 3 3 1M14 21l-2-6",
};

/** Make an element. given: attributes; functions are listeners, `hidden`/`disabled` and the like are properties. */
export function h(tag, given = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else made.setAttribute(name, value);
  }
  made.append(...inside.flat(3).filter((one) => one !== null && one !== undefined && one !== false));
  return made;
}

/** Draw one of the icons; it says nothing, the word beside it does. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

export const button = (words, onclick, given = {}) => h("button", { type: "button", click: onclick, ...given }, words);
export const link = (words, to, given = {}) => h("a", { href: to, class: "button", ...given }, words);

/** A notice; kind: good, warn or bad. What went wrong is read aloud at once. */
export const notice = (kind, ...inside) =>
  h("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, ...inside);

/** Say shortly what happened, at the lower edge, for everybody's eyes and ears. */
export function toast(words) {
  const box = document.getElementById("said");
  box.textContent = words;
  box.hidden = false;
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => { box.hidden = true; }, 6000);
}

/** Ask before something that cannot be taken back; resolves to whether it was confirmed. */
export function sure(question, yes) {
  return new Promise((decided) => {
    const box = h("dialog", { "aria-labelledby": "asked" },
      h("p", { id: "asked" }, question),
      h("form", { method: "dialog", class: "pair" },
        h("button", { value: "no" }, t("Leave it")), h("button", { value: "yes", class: "danger" }, yes)));
    box.addEventListener("close", () => { box.remove(); decided(box.returnValue === "yes"); });
    document.body.append(box);
    box.showModal();
  });
}

const DAY = 86400000;
const dayOf = (at) => Math.floor((at.getTime() + 8 * 3600000) / DAY);
const clock = (at) => at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "Asia/Shanghai" });

/** Say a moment as people say it, in China's time. at: anything that Date reads; now: a Date. */
export function when(at, now = new Date()) {
  const moment = new Date(at);
  const days = dayOf(moment) - dayOf(now);
  if (days === 0) return t("today {time}", { time: clock(moment) });
  if (days === -1) return t("yesterday {time}", { time: clock(moment) });
  if (days === 1) return t("tomorrow {time}", { time: clock(moment) });
  return `${date(moment, now)} ${clock(moment)}`;
}

/** Say a day. */
export function date(at, now = new Date()) {
  const moment = new Date(at);
  const far = moment.getFullYear() !== now.getFullYear();
  return moment.toLocaleDateString(language() === "zh" ? "zh-CN" : "en-GB", {
    month: language() === "zh" ? "long" : "short", day: "numeric", year: far ? "numeric" : undefined, timeZone: "Asia/Shanghai",
  });
}

/** Say how much time is left, with the four states by colour, shape and word (FACES). */
export function due(at, received, now) {
  if (!at) return null;
  const left = new Date(at) - now;
  const whole = new Date(at) - new Date(received);
  const state = left < 0 ? "over" : left < whole * 0.2 ? "near" : left < whole * 0.5 ? "half" : "fine";
  const shape = { fine: "●", half: "◐", near: "▲", over: "■" }[state];
  const word = { fine: t("in time"), half: t("half gone"), near: t("due soon"), over: t("over the limit") }[state];
  const much = span(Math.abs(left));
  return h("span", { class: `due ${state}` }, `${shape} ${word} `,
    h("span", { class: "left" }, left < 0 ? t("by {span}", { span: much }) : t("{span} left", { span: much })));
}

/** Say a stretch of time, roughly. */
export function span(milliseconds) {
  const minutes = Math.round(milliseconds / 60000);
  if (minutes < 60) return t("{n} min", { n: minutes });
  if (minutes < 60 * 48) return t("{n} h", { n: Math.round(minutes / 60) });
  return t("{n} d", { n: Math.round(minutes / 1440) });
}

/** Say a distance. */
export const metres = (m) =>
  (m < 950 ? t("{n} m", { n: m < 100 ? Math.round(m / 5) * 5 : Math.round(m / 10) * 10 }) : t("{n} km", { n: (m / 1000).toFixed(1) }));

/** Say a size of bytes. */
export const bytes = (n) => (n < 1e6 ? `${Math.max(1, Math.round(n / 1e3))} KB` : n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(1)} GB`);

/** What a matter is called where it has no title: how its text begins, else its category. */
export const named = (one) => one.title || (one.text ? one.text.split(/[。！？\n]/, 1)[0].slice(0, 40) : "") || leaf(one.category_name) || one.number;
/** The last part of a category's path: 市容环境 / 垃圾清运. */
export const leaf = (path) => (path ?? "").split(" / ").at(-1);

/** Something to show when there is nothing. */
export const empty = (words, what = "") => h("div", { class: "empty" }, h("p", {}, h("strong", {}, words)), what && h("p", {}, what));
