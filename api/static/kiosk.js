// The terminal: goes back to its start when nobody touches it, keeps nothing, and lets fingers type digits.
"use strict";
(() => {
  const { idle, home } = document.body.dataset;
  const left = document.getElementById("left");
  const foot = document.querySelector(".kiosk-foot");
  let until = 0;
  const touch = () => { until = Date.now() + Number(idle) * 1000; };
  // The page that comes is put in the place of this one: "back" leads to nobody's words.
  const leave = () => { document.querySelector("form")?.reset(); location.replace(home); };
  for (const name of ["pointerdown", "keydown", "input"]) addEventListener(name, touch);
  document.getElementById("longer")?.addEventListener("click", touch);
  touch();
  setInterval(() => {
    const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    left.textContent = String(seconds);
    foot.classList.toggle("soon", seconds <= 20);
    if (!seconds && !document.body.dataset.left) { document.body.dataset.left = "1"; leave(); }
  }, 500);
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (link) { event.preventDefault(); location.replace(link.href); }
    const digit = event.target.closest("[data-digit]");
    if (digit) {
      const field = document.getElementById("f-phone");
      field.value = digit.dataset.digit ? (field.value + digit.dataset.digit).slice(0, 20) : field.value.slice(0, -1);
    }
  });
  document.querySelector(".pad")?.removeAttribute("hidden");
  // A page that the browser kept for "back" shows another person's words: it starts anew.
  addEventListener("pageshow", (event) => { if (event.persisted) leave(); });
  try { localStorage.clear(); sessionStorage.clear(); } catch { /* forbidden: nothing was stored */ }
})();
