// From a picture back into the controls: its seed, all its settings, or the picture itself.

import { write } from "./prompts.js";
import { toast } from "./toasts.js";

/** @param {string} task @param {number} seed */
export function useSeed(task, seed) {
  const input = document.querySelector(`#${task}_seed input`);
  if (!(input instanceof HTMLInputElement)) return;
  input.value = String(seed);
  for (const kind of ["input", "change", "blur"]) input.dispatchEvent(new Event(kind, { bubbles: true }));
  toast(`Seed ${seed} will be used again.`);
}

/** Fill every control of a task from a picture's text. @param {string} task @param {string} infotext */
export function useText(task, infotext) {
  write(task, "prompt", infotext);
  document.getElementById(`${task}_paste`)?.click();
}

/** Make this picture the input of img2img. @param {{url: string}} picture */
export function sendToImg2img(picture) {
  const box = document.querySelector("#img2img_handover textarea, #img2img_handover input");
  if (!(box instanceof HTMLInputElement || box instanceof HTMLTextAreaElement)) return;
  box.value = picture.url;
  box.dispatchEvent(new Event("input", { bubbles: true }));
  document.getElementById("img2img_receive")?.click();
  document.getElementById("tab_img2img-button")?.click();
}
