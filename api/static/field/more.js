// Everything else: language, type, light; what the phone keeps; who uses it.
import { bundle, forgetBundle } from "./bundle.js";
import { ahead, now } from "./link.js";
import { halt } from "./patrolling.js";
import { enough, leave, persist, used, waiting, whose } from "./store.js";
import { button, bytes, h, link, span, sure, when } from "./ui.js";
import { t } from "./words.js";

export const CHOICES = { lang: ["zh", "en"], type: ["normal", "large"], theme: ["auto", "light", "dark", "sun"] };

export async function show(main, _parts, { settings, set, outcome }) {
  const [all, who, space, much, left, lasting] = await Promise.all([bundle(), whose(), enough(), used(), waiting(), navigator.storage?.persisted?.() ?? false]);
  const words = {
    zh: "中文", en: "English", normal: t("Normal"), large: t("Large"), auto: t("By the phone"), light: t("Light"), dark: t("Dark"), sun: t("Sunlight"),
  };
  const choice = (name, label) => h("fieldset", { class: "field" }, h("legend", {}, label), h("div", { class: "choices" }, CHOICES[name].map((one) =>
    h("label", {}, h("input", { type: "radio", name, value: one, checked: settings[name] === one, change: () => set(name, one) }), h("span", name === "lang" ? { lang: one === "zh" ? "zh-Hans" : "en" } : {}, words[one])))));
  main.append(
    h("div", { class: "quickly" }, link(t("Training"), "#/learn"), link(t("Visits"), "#/visits"), link(t("Apply at the door"), "#/door"), link(t("Patrol"), "#/patrol")),
    choice("lang", t("Language")), choice("type", t("Size of type")), choice("theme", t("Colours")),
    h("h2", {}, t("This phone")),
    h("dl", { class: "facts" },
      h("dt", {}, t("In use by")), h("dd", { class: "title" }, who?.name ?? "—"),
      h("dt", {}, t("Tasks as of")), h("dd", {}, all.at ? when(all.at, now()) : "—"),
      h("dt", {}, t("Waits to be sent")), h("dd", {}, String(left)),
      h("dt", {}, t("Storage")), h("dd", {}, [much === null ? "" : t("{used} kept on this phone", { used: bytes(much) }), " · ", space ? t("room for photos") : t("nearly full")], lasting ? "" : h("p", { class: "hint" }, t("The browser may clear it when the phone runs short; install the page to keep it."))),
      h("dt", {}, t("Clock")), h("dd", {}, Math.abs(ahead()) < 60000 ? t("The clock is right") : ahead() > 0 ? t("{span} fast; times are set right", { span: span(ahead()) }) : t("{span} slow; times are set right", { span: span(-ahead()) }))),
    lasting ? "" : button(t("Keep it for sure"), async (event) => { event.target.textContent = (await persist()) ? t("It is kept.") : t("The browser did not agree."); }),
    h("div", { class: "pair" },
      ["signin", "other"].includes(outcome?.state) || !who ? h("a", { class: "button primary", href: "/login?next=/field" }, t("Sign in")) : "",
      who ? button(t("Hand the phone to somebody else"), async () => {
        const asked = left ? t("{n} things of yours wait to be sent. They stay on the phone, locked, until you sign in here again. Lock now?", { n: left }) : t("Your tasks are taken off this phone until you sign in here again. Lock now?");
        if (!(await sure(asked, t("Lock")))) return;
        halt();
        await leave();
        forgetBundle();
        navigator.serviceWorker?.controller?.postMessage("account");
        location.href = "/login?next=/field";
      }, { class: "danger" }) : ""));
  return { title: t("More") };
}
