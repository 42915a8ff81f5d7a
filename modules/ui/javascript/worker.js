// <tb-worker>: a chip that says whether the engine that makes the pictures is ready.

import { get } from "./api.js";
import { make, Mounted } from "./element.js";
import { on } from "./events.js";

const WORDS = { starting: "Engine is starting", ready: "Ready", busy: "Working", dead: "Engine stopped" };

class WorkerChip extends Mounted {
  /** @param {AbortSignal} signal */
  mount(signal) {
    this.setAttribute("role", "status");
    this.show({ state: "starting", device: "", message: "" });
    on("snapshot", (data) => this.show(data.worker), signal);
    on("worker", (data) => this.show(data), signal);
    on("connection", (isUp) => isUp || this.show({ state: "lost", device: "", message: "Trying to reach the server again" }), signal);
    get("/status")
      .then((status) => this.show(status.worker))
      .catch(() => {});
  }

  /** @param {{state: string, device: string, message: string}} worker */
  show({ state, device, message }) {
    const words = WORDS[/** @type {keyof typeof WORDS} */ (state)] ?? "Server is away";
    this.dataset.state = state;
    this.title = message || words;
    const detail = device && (state === "ready" || state === "busy") ? ` on ${device}` : "";
    this.replaceChildren(make("span", { class: "tb-dot" }), words + detail);
  }
}

customElements.define("tb-worker", WorkerChip);
