// The phone's two languages: English sentences are the keys, the other words come from a small file that is kept offline.
const known = { zh: {}, en: {} };
let current = "zh";

/** Read the words of a language; what cannot be read is shown in English rather than not at all. */
export async function speak(language) {
  current = language === "en" ? "en" : "zh";
  if (current === "zh" && !Object.keys(known.zh).length) {
    try { known.zh = await (await fetch("/field/words/zh.json")).json(); } catch { /* no line and nothing kept yet */ }
  }
  document.documentElement.lang = current === "zh" ? "zh-Hans" : "en";
}

export const language = () => current;

/** Say a sentence, filled in. The argument must be one literal in double quotes: that is how the catalogue finds it. */
export function t(sentence, params) {
  return say(sentence, params);
}

/** Say a sentence that came as data. */
export function say(sentence, params) {
  const text = known[current][sentence] ?? sentence;
  return params ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in params ? String(params[name]) : whole)) : text;
}
