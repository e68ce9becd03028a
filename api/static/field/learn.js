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
  if (!all.quizzes.length) main.append(empty(t("There is nothing to learn yet."), t("Cards come with the next line.")));
  const papers = rows.filter((row) => row.action.kind === "quiz");
  main.append(h("ul", { class: "duties" }, all.quizzes.map((one) => {
    const cards = all.cards.filter((each) => each.duty === one.duty).length;
    const waits = papers.some((row) => row.state !== "done" && row.action.fields.duty === one.duty);
    return h("li", { class: "card" }, h("h2", {}, one.label), standing(all.certificates.find((each) => each.duty === one.duty)),
      last(papers.filter((row) => row.state === "done" && row.action.fields.duty === one.duty).at(-1)),
      waits ? notice("warn", h("p", {}, t("Your answers wait to be sent."))) : "",
      h("div", { class: "pair" }, cards ? link(t("Read ({n} cards)", { n: cards }), `#/cards/${one.duty}`) : "",
        waits ? "" : link(t("Take the quiz"), `#/quiz/${one.duty}`, { class: "button primary" })));
  })));
  return { title: t("Training") };
}

function standing(held) {
  if (!held) return h("p", { class: "muted" }, t("No certificate yet"));
  const day = date(held.expires_at, now());
  const over = new Date(held.expires_at) < now();
  return h("p", { class: over ? "due over" : "due fine" }, over ? t("■ Certificate ended on {day}", { day }) : t("● Certificate until {day}", { day }));
}

/** What came of the newest paper that the server has marked. */
function last(row) {
  const came = row?.told?.more;
  if (!came || came.right === undefined) return "";
  const said = { right: came.right, asked: came.asked };
  return h("p", {}, came.passed ? t("Passed: {right} of {asked} right", said) : t("Not passed: {right} of {asked} right; read the cards again", said));
}

export async function showCards(main, [duty]) {
  const all = await bundle();
  const cards = all.cards.filter((one) => one.duty === duty);
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
    box.replaceChildren(h("h2", { class: "title" }, one.title), h("p", { class: "said" }, one.text));
    [back.disabled, on.disabled] = [at === 0, at === cards.length - 1];
  };
  main.append(place, box, h("div", { class: "pair" }, back, on), h("div", { class: "pair" }, link(t("Take the quiz"), `#/quiz/${duty}`), link(t("Training"), "#/learn")));
  turn(0);
  return { title: all.quizzes.find((one) => one.duty === duty)?.label ?? t("Training") };
}

export async function showQuiz(main, [duty]) {
  const paper = (await bundle()).quizzes.find((one) => one.duty === duty);
  if (!paper) {
    main.append(empty(t("There is nothing to learn yet.")), link(t("Training"), "#/learn"));
    return { title: t("Quiz") };
  }
  const wrong = h("p", { class: "error", role: "alert" });
  main.append(h("form", { novalidate: true, submit: async (event) => {
    event.preventDefault();
    const chosen = (i) => [...event.target.querySelectorAll(`input[name="q${i}"]:checked`)].map((one) => one.value);
    const answers = Object.fromEntries(paper.questions.map((one, i) => [one.id, chosen(i)]));
    const open = paper.questions.findIndex((one) => !answers[one.id].length);
    if (open >= 0) {
      wrong.textContent = t("Please answer every question.");
      event.target.querySelectorAll("fieldset")[open].scrollIntoView({ block: "center" });
      return;
    }
    const { number, digest } = paper;
    await enqueue(action("quiz", { fields: { duty, number, digest, answers }, about: paper.label }));
    left(t("Your answers are kept; the result comes with the next line."), "#/learn");
  } }, paper.questions.map(question), wrong, h("button", { class: "primary large" }, t("Hand in"))));
  return { title: paper.label };
}

function question(one, i) {
  return h("fieldset", { class: "card" }, h("legend", {}, h("span", { class: "title" }, `${i + 1}. ${one.ask}`), one.many ? h("span", { class: "optional" }, ` ${t("(several may be right)")}`) : ""),
    h("div", { class: "choices down" }, one.options.map((each) => h("label", {},
      h("input", { type: one.many ? "checkbox" : "radio", name: `q${i}`, value: each.letter }), h("span", { class: "title" }, each.words)))));
}
