// Comforts of the admin's pages. Every page works without this file.
"use strict";

// Forms marked data-unsaved say when they hold changes, and ask before the page is left with them.
for (const form of document.querySelectorAll("form[data-unsaved]")) {
  const note = form.querySelector("[data-unsaved-note]");
  const content = () => new URLSearchParams(new FormData(form)).toString();
  const saved = content();
  // What came back with errors or as a conflict was never saved.
  const unsaved = () => document.querySelector(".message.error") !== null || content() !== saved;
  let leaving = false;

  form.addEventListener("input", () => {
    note.textContent = unsaved() ? "You have unsaved changes." : "";
  });
  form.addEventListener("submit", () => {
    leaving = true;
  });
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && unsaved()) {
      event.preventDefault();
    }
  });
}
