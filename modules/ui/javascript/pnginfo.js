// <tb-pnginfo>: what a picture's file says of itself, and its way back into the controls.

import { readPicture } from "./api.js";
import { make, Mounted } from "./element.js";
import { useText } from "./handover.js";
import { sendToInpaint } from "./inpaint.js";
import { textArea } from "./prompts.js";
import { tell } from "./toasts.js";

const HINT = "Drop a picture here, or open a file, to see how it was made.";

class PngInfo extends Mounted {
  mount() {
    this.file = /** @type {HTMLInputElement} */ (make("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "Picture to read" }));
    this.file.addEventListener("change", () => this.file.files?.[0] && this.open(this.file.files[0]));
    this.picture = /** @type {HTMLImageElement} */ (make("img", { class: "tb-picture", alt: "" }));
    this.stage = make("div", { class: "tb-stage", tabindex: 0, onclick: () => this.file.click() }, this.picture, make("p", { class: "tb-hint" }, HINT));
    this.stage.addEventListener("dragover", (event) => event.preventDefault());
    this.stage.addEventListener("drop", (event) => {
      event.preventDefault();
      const file = event.dataTransfer?.files[0];
      if (file) this.open(file);
    });
    this.text = make("pre", { class: "tb-infotext", id: "pnginfo_text", tabindex: 0 });
    this.notices = make("ul", { class: "tb-notices" });
    this.items = make("dl", { class: "tb-items" });
    this.actions = make(
      "div",
      { class: "tb-actions is-idle" },
      this.sender("txt2img", "To txt2img", () => tell(this.use("txt2img"))),
      this.sender("img2img", "To img2img", () => tell(this.use("img2img"))),
      this.sender("inpaint", "To inpaint", () => sendToInpaint({ url: this.picture.src })),
    );
    this.append(make("div", { class: "tb-body" }, make("div", {}, this.file, this.stage), make("div", { class: "tb-panel" }, this.actions, this.text, this.notices, this.items)));
  }

  /** @param {string} name @param {string} text @param {() => void} act */
  sender(name, text, act) {
    return make("button", { class: "tb-small", type: "button", id: `pnginfo_send_to_${name}`, onclick: act }, text);
  }

  /** @param {File} file */
  open(file) {
    return tell(
      (async () => {
        const told = await readPicture(file);
        URL.revokeObjectURL(this.picture.src);
        this.picture.src = URL.createObjectURL(file);
        this.stage.classList.add("has-picture");
        this.infotext = told.text;
        this.text.textContent = told.text || "This picture says nothing of how it was made.";
        this.notices.replaceChildren(...told.notices.map((/** @type {string} */ notice) => make("li", {}, notice)));
        this.items.replaceChildren(
          ...Object.entries(told.items).flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]),
        );
        this.actions.classList.remove("is-idle");
      })(),
    );
  }

  /** @param {string} task */
  async use(task) {
    document.getElementById(`tab_${task}-button`)?.click();
    // A tab that is shown for the first time is filled only now.
    for (let tries = 0; tries < 100 && !textArea(task, "prompt"); tries += 1) await new Promise((go) => setTimeout(go, 20));
    if (this.infotext) useText(task, this.infotext);
  }
}

customElements.define("tb-pnginfo", PngInfo);
