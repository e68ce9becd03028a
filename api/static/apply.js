// The form of an application: files are stored one by one as they are chosen, a draft survives a reload, one submission
// at a time. The form works without this file. What names a person is kept for this tab alone, and nothing after sending.
"use strict";
(() => {
  const PERSONAL = ["name", "phone", "id_number", "agent_name", "agent_phone", "agent_id"];
  const PREFIX = "wangge.apply.";
  const forget = () => {
    for (const box of [localStorage, sessionStorage])
      for (const key of Object.keys(box)) if (key.startsWith(PREFIX)) box.removeItem(key);
  };
  if (document.getElementById("receipt")) { forget(); return; }
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-once]");
    if (!form || event.submitter?.formAction !== form.action && event.submitter?.hasAttribute("formaction")) return;
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "1";
  });
  addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((form) => delete form.dataset.sent));
  const form = document.getElementById("application");
  if (!form) return;
  const code = form.dataset.code;
  const problem = document.getElementById("trouble");

  // Draft.
  const keep = () => {
    const open = {}, own = {};
    for (const [name, value] of new FormData(form)) {
      if (typeof value !== "string" || name === "csrf_token") continue;
      const into = PERSONAL.includes(name) ? own : open;
      (into[name] ||= []).push(value);
    }
    localStorage.setItem(PREFIX + code, JSON.stringify(open));
    sessionStorage.setItem(PREFIX + code, JSON.stringify(own));
  };
  const fill = (values) => {
    for (const [name, given] of Object.entries(values)) {
      if (name.startsWith("kept-")) continue;
      const found = [...form.querySelectorAll(`[name="${CSS.escape(name)}"]`)];
      for (const one of found) {
        if (one.type === "checkbox" || one.type === "radio") one.checked = given.includes(one.value);
        else if (one.type !== "file" && (one.type !== "hidden" || name === "key")) one.value = given[0];
      }
    }
    form.querySelectorAll("details").forEach((box) => { if (box.querySelector(":checked")) box.open = true; });
  };
  const restore = () => {
    try {
      const open = JSON.parse(localStorage.getItem(PREFIX + code) || "null");
      const own = JSON.parse(sessionStorage.getItem(PREFIX + code) || "null");
      const typed = open && Object.entries(open).some(([name, given]) => !["key", "seen", "kind"].includes(name) && given.some(Boolean));
      if (problem || (!typed && !Object.values(own || {}).some((given) => given[0]))) return;
      fill({ ...open, ...own });
      for (const [name, tokens] of Object.entries(open || {})) if (name.startsWith("kept-")) tokens.forEach((token) => again(name.slice(5), token));
      const said = document.getElementById("kept");
      said.textContent = form.dataset.draft;
      said.hidden = false;
    } catch { forget(); }
  };
  // A stored file is named by its token alone; the line says so until the server draws it anew.
  const again = (material, token) => {
    const list = form.querySelector(`[data-files="${CSS.escape(material)}"]`);
    if (!list || [...list.querySelectorAll("input")].some((one) => one.value === token)) return;
    const line = document.createElement("li");
    const input = document.createElement("input");
    input.type = "hidden"; input.name = `kept-${material}`; input.value = token;
    line.append(input, form.dataset.stored);
    list.append(line);
  };
  form.addEventListener("input", keep);
  form.addEventListener("change", keep);

  // Files.
  const shown = () => form.querySelectorAll("[data-remove]").forEach((button) => { button.hidden = false; });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-remove]");
    if (!button) return;
    button.closest("li").remove();
    keep();
  });
  form.addEventListener("change", async (event) => {
    const chooser = event.target.closest("[data-upload]");
    if (!chooser || !chooser.files.length) return;
    const material = chooser.dataset.upload;
    const state = form.querySelector(`[data-state="${CSS.escape(material)}"]`);
    const list = form.querySelector(`[data-files="${CSS.escape(material)}"]`);
    const files = [...chooser.files];
    chooser.value = "";
    state.textContent = form.dataset.sending;
    state.classList.remove("error");
    for (const file of files) {
      const data = new FormData();
      data.append("code", material);
      data.append("file", file);
      try {
        const token = document.querySelector('meta[name="csrf-token"]').content;
        const answer = await fetch("/apply/upload", { method: "POST", body: data, credentials: "same-origin", headers: { "X-CSRF-Token": token, "HX-Request": "true" } });
        const text = await answer.text();
        if (!answer.ok) throw new Error(new DOMParser().parseFromString(text, "text/html").body.textContent.trim());
        list.insertAdjacentHTML("beforeend", text);
        state.textContent = form.dataset.stored;
      } catch (error) {
        state.textContent = error.message && !(error instanceof TypeError) ? error.message : form.dataset.failed;
        state.classList.add("error");
      }
    }
    shown();
    keep();
  });
  shown();
  restore();
  shown();
})();
