// Short messages in a corner: what went wrong, or what was done.

import { make } from "./element.js";

const SHOWN_MS = 7000;

/** Show a message; the same one twice is shown once. @param {string} text @param {"info" | "error"} [kind] */
export function toast(text, kind = "info") {
  let area = document.querySelector(".tb-toasts");
  if (!area) {
    area = make("div", { class: "tb-toasts", role: "status", "aria-live": "polite" });
    document.body.append(area);
  }
  for (const shown of area.children) if (shown.textContent === text) shown.remove();
  const message = make("button", { class: `tb-toast is-${kind}`, title: "Dismiss", onclick: () => message.remove() }, text);
  area.append(message);
  setTimeout(() => message.remove(), SHOWN_MS);
}

/** Run a promise whose failure a person must see. @param {Promise<any>} promise */
export const tell = (promise) => promise.catch((error) => toast(error.message, "error"));
