// Keys: Ctrl+Enter generates, Alt+Enter skips, Escape interrupts; and the buttons that do the same.

import { activeJobs, interrupt, skip } from "./jobs.js";
import { tell } from "./toasts.js";

/** The task whose tab is open. */
const openTask = () => (document.querySelector("#tab_img2img")?.checkVisibility() ? "img2img" : "txt2img");

export function watchKeys() {
  document.addEventListener("keydown", (event) => {
    const task = openTask();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) document.getElementById(`${task}_generate`)?.click();
    else if (event.key === "Enter" && event.altKey) tell(skip(task));
    else if (event.key === "Escape" && activeJobs(task).length) tell(interrupt(task));
    else return;
    event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button") : null;
    const [, task, act] = button?.id.match(/^(txt2img|img2img)_(interrupt|skip)$/) ?? [];
    if (act === "interrupt") tell(interrupt(task));
    if (act === "skip") tell(skip(task));
  });
}
