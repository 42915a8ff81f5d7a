// The first page: cards and prompt boxes while the controls are still being loaded. It makes way by itself.

import "./cards.js";
import "./worker.js";
import { at, get } from "./api.js";
import { restorePrompts, watchPrompts } from "./prompts.js";

const EVERY_MS = 250;

restorePrompts();
watchPrompts();
for (const tab of document.querySelectorAll("[data-shows]")) tab.addEventListener("click", () => show(tab));

/** @param {Element} tab */
function show(tab) {
  for (const other of document.querySelectorAll("[data-shows]")) other.setAttribute("aria-selected", String(other === tab));
  for (const panel of document.querySelectorAll("tb-cards")) {
    /** @type {HTMLElement} */ (panel).hidden = panel.getAttribute("kind") !== tab.getAttribute("data-shows");
  }
}

async function waitForPage() {
  try {
    const status = await get("/status");
    if (status.ui === "ready") return location.reload();
    if (status.ui === "failed") return location.assign(at("/docs"));
  } catch {
    // the server may be starting again
  }
  return setTimeout(waitForPage, EVERY_MS);
}
waitForPage();
