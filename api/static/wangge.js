// What every page needs: the CSRF token on htmx requests, a message when the line is down, and printing.
"use strict";
document.addEventListener("htmx:configRequest", (event) => {
  const token = document.querySelector('meta[name="csrf-token"]');
  if (token) event.detail.headers["X-CSRF-Token"] = token.content;
});
document.addEventListener("htmx:sendError", () => {
  const box = document.getElementById("problem");
  const zh = document.documentElement.lang.startsWith("zh");
  const words = document.createElement("p");
  words.textContent = zh ? "网络不通，内容未提交，请稍后再试。" : "No connection; nothing was sent. Try again later.";
  const notice = document.createElement("div");
  notice.className = "notice bad";
  notice.append(words);
  box.replaceChildren(notice);
});
document.addEventListener("htmx:beforeRequest", (event) => {
  // What draws itself anew in the background takes away nothing that somebody has yet to read.
  if (!event.detail.target?.closest?.("#phone, #queue, .handling-slot")) document.getElementById("problem").replaceChildren();
});
document.addEventListener("click", (event) => {
  const print = event.target.closest("[data-print]");
  if (print) window.print();
});
