// Training: short cards and a quiz for each duty, and the certificates that they end in, with their last day.
import { bundle } from "./bundle.js";
import { now } from "./link.js";
import { action } from "./queue.js";
import { enqueue, queue } from "./store.js";
import { left } from "./report.js";
import { date, empty, h, link, notice } from "./ui.js";
import { t } from "./words.js";

export async function show(main) {
  const [all, rows] = await Promise.all([bundle(), queue()]);
  const waits = new Set(rows.filter((row) => row.action.kind === "quiz" && row.state !== "done").map((row) => row.action.fields.quiz));
  if (!all.cards.length && !all.quizzes.length) main.append(empty(t("There is nothing to learn yet."), t("Cards come with the next line.")));
  const duties = new Map();
  for (const one of [...all.cards, ...all.quizzes]) {
    const known = duties.get(one.duty) ?? { name: one.duty_label ?? one.duty, cards: [], quiz: null };
    if (one.questions) known.quiz = one;
    else known.cards.push(one);
    known.name = one.duty_label ?? known.name;
    duties.set(one.duty, known);
  }
  main.append(h("ul", { class: "duties" }, [...duties].map(([code, one]) => h("li", { class: "card" }, h("h2", { class: "title" }, one.name), standing(one.quiz),
    waits.has(one.quiz?.id) ? notice("warn", h("p", {}, t("Your answers wait to be sent."))) : "",
    h("div", { class: "pair" }, one.cards.length ? link(t("Read ({n} cards)", { n: one.cards.length }), `#/cards/${code}`) : "",
      one.quiz ? link(t("Take the quiz"), `#/quiz/${one.quiz.id}`, { class: "button primary" }) : "")))));
  return { title: t("Training") };
}

function standing(quiz) {
  const held = quiz?.certificate;
  if (!held) return h("p", { class: "muted" }, t("No certificate yet"));
  const over = new Date(held.valid_until) < now();
  return h("p", { class: over ? "due over" : "due fine" }, over ? t("■ Certificate ended on {day}", { day: date(held.valid_until, now()) }) : t("● Certificate until {day}", { day: date(held.valid_until, now()) }));
}

export async function showCards(main, [duty]) {
  const cards = (await bundle()).cards.filter((one) => one.duty === duty);
  let at = 0;
  const place = h("p", { class: "muted", role: "status" });
  const box = h("article", { class: "card learn" });
  const back = h("button", { type: "button", class: "large", click: () => turn(-1) }, t("Back"));
  const on = h("button", { type: "button", class: "primary large", click: () => turn(1) }, t("Next card"));
  const turn = (by) => {
    at = Math.max(0, Math.min(cards.length - 1, at + by));
    const one = cards[at];
    if (!one) return;
    place.textContent = t("{n} of {all}", { n: at + 1, all: cards.length });
    box.replaceChildren(h("h2", { class: "title" }, one.title), h("p", { class: "said" }, one.body));
    [back.disabled, on.disabled] = [at === 0, at === cards.length - 1];
  };
  main.append(place, box, h("div", { class: "pair" }, back, on), link(t("Training"), "#/learn"));
  turn(0);
  return { title: cards[0]?.duty_label ?? t("Training"), data: Boolean(cards[0]?.duty_label) };
}

export async function showQuiz(main, [id]) {
  const quiz = (await bundle()).quizzes.find((one) => String(one.id) === id);
  if (!quiz) {
    main.append(empty(t("There is nothing to learn yet.")), link(t("Training"), "#/learn"));
    return { title: t("Quiz") };
  }
  const wrong = h("p", { class: "error", role: "alert" });
  main.append(h("form", { novalidate: true, submit: async (event) => {
    event.preventDefault();
    const answers = Object.fromEntries(quiz.questions.map((one, i) => [one.id ?? String(i), event.target.querySelector(`input[name="q${i}"]:checked`)?.value]));
    if (Object.values(answers).some((one) => one === undefined)) {
      wrong.textContent = t("Please answer every question.");
      return;
    }
    await enqueue(action("quiz", { fields: { quiz: quiz.id, version: quiz.version, answers }, about: quiz.title ?? quiz.duty_label }));
    left(t("Your answers are kept; the result comes with the next line."), "#/learn");
  } }, quiz.questions.map((one, i) => h("fieldset", { class: "card" }, h("legend", { class: "title" }, `${i + 1}. ${one.text ?? one.question}`),
    h("div", { class: "choices down" }, (one.choices ?? one.options).map((choice, n) => h("label", {}, h("input", { type: "radio", name: `q${i}`, value: choice.code ?? n }), h("span", { class: "title" }, choice.words ?? choice.text ?? choice)))))), wrong, h("button", { class: "primary large" }, t("Hand in"))));
  return { title: quiz.title ?? quiz.duty_label ?? t("Quiz"), data: Boolean(quiz.title ?? quiz.duty_label) };
}
