// A picture or a text file dropped on a prompt box: what it says of itself goes into the controls.

import { readPicture } from "./api.js";
import { useText } from "./handover.js";
import { taskOf } from "./prompts.js";
import { tell, toast } from "./toasts.js";

const LONGEST_TEXT = 10_000;

export function watchDrops() {
  document.addEventListener("dragover", (event) => taskOf(event.target) && holdsFile(event) && event.preventDefault(), true);
  document.addEventListener(
    "drop",
    (event) => {
      const task = taskOf(event.target);
      if (!task || !holdsFile(event)) return;
      event.preventDefault();
      event.stopPropagation();
      tell(read(task, /** @type {DataTransfer} */ (event.dataTransfer)));
    },
    true,
  );
}

/** @param {DragEvent} event */
const holdsFile = (event) => ["Files", "text/uri-list"].some((kind) => event.dataTransfer?.types.includes(kind));

/** @param {string} task @param {DataTransfer} dropped */
async function read(task, dropped) {
  const blob = dropped.files[0] ?? (await own(dropped.getData("text/uri-list")));
  if (!blob) throw new Error("Only files, and pictures of this page, can be dropped here.");
  const text = blob.type.startsWith("text/") ? await plain(blob) : (await readPicture(blob, task)).text;
  if (text) useText(task, text);
  else toast("This picture says nothing of how it was made.");
}

/** A picture of this server that was dragged from the page. @param {string} address */
async function own(address) {
  if (!address || new URL(address, location.href).origin !== location.origin) return null;
  return (await fetch(address)).blob();
}

/** @param {Blob} blob */
async function plain(blob) {
  if (blob.size > LONGEST_TEXT) throw new Error(`The text is longer than ${LONGEST_TEXT} letters. Paste the part you need.`);
  return blob.text();
}
