// Taking a call without the mouse: Ctrl+Enter opens the case.
"use strict";
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) document.getElementById("take")?.requestSubmit();
});
