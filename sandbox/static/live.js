// Keeps pages up to date. Without it every page shows the state at the time it was loaded.
"use strict";

const number = new Intl.NumberFormat("en");

// A region with data-refresh is fetched again every so many milliseconds, unless somebody is working in it.
for (const region of document.querySelectorAll("[data-refresh]")) {
  setInterval(async () => {
    const busy = region.contains(document.activeElement) || region.querySelector("details[open]");
    if (document.hidden || busy || !getSelection().isCollapsed) return;
    const answer = await fetch(location.href).catch(() => null);
    if (!answer?.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(region.id);
    if (fresh && fresh.innerHTML !== region.innerHTML) region.innerHTML = fresh.innerHTML;
  }, Number(region.dataset.refresh));
}

// The progress of a burst: every element with data-key shows that member of the summary.
const burst = document.querySelector("[data-burst]");
if (burst) {
  const show = (summary) => {
    const flat = { ...summary, ...Object.fromEntries(Object.entries(summary.answerMs).map(([k, v]) => [`ms.${k}`, v])) };
    const end = summary.waiting || summary.blocked || summary.retrying ? Date.now() : summary.lastEndAt;
    flat.seconds = Math.max(0, ((end ?? Date.now()) - summary.startedAt) / 1000);
    for (const element of burst.querySelectorAll("[data-key]")) {
      const value = flat[element.dataset.key] ?? 0;
      if (element.tagName === "PROGRESS") element.value = value;
      else element.textContent = (element.dataset.digits ? value.toFixed(element.dataset.digits) : number.format(value)) + (element.dataset.unit ?? "");
      element.closest("dd").classList.toggle("zero", value === 0);
    }
  };
  setInterval(async () => {
    if (document.hidden) return;
    const answer = await fetch(burst.dataset.burst).catch(() => null);
    if (answer?.ok) show(await answer.json());
  }, 500);
}
