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
  form.addEventListener("submit", (event) => {
    leaving = !event.submitter?.hasAttribute("data-preview");
  });
  window.addEventListener("beforeunload", (event) => {
    if (!leaving && unsaved()) {
      event.preventDefault();
    }
  });
}

// The preview follows what is typed.
for (const button of document.querySelectorAll("[data-preview]")) {
  let timer;
  const update = () => button.form.requestSubmit(button);
  button.hidden = true;
  button.form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(update, 300);
  });
}

// Placeholders become buttons that put themselves where the cursor was last.
for (const list of document.querySelectorAll("[data-chips]")) {
  const form = document.getElementById(list.dataset.chips);
  const fields = form.querySelectorAll("input[type=text], textarea");
  let target = fields[fields.length - 1];
  form.addEventListener("focusin", (event) => {
    if ([...fields].includes(event.target)) {
      target = event.target;
    }
  });
  for (const name of list.querySelectorAll("code")) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = name.textContent;
    chip.addEventListener("click", () => {
      target.setRangeText(name.textContent, target.selectionStart, target.selectionEnd, "end");
      target.dispatchEvent(new Event("input", { bubbles: true }));
      target.focus();
    });
    name.replaceWith(chip);
  }
}
