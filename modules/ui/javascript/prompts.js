// The prompt boxes: which had the focus last, reading and writing them, and keeping what was typed over a reload.

/** @typedef {"prompt" | "negative"} Box */

const BOXES = { prompt: "prompt", negative: "neg_prompt" };
const CHANGED = "tb-changed";
/** @type {Map<string, Box>} */
const lastFocused = new Map();

/** @param {string} task @param {Box} box @returns {HTMLTextAreaElement | null} */
export const textArea = (task, box) => document.querySelector(`#${task}_${BOXES[box]} textarea`);

/** The box that had the focus last; the positive one if none had. @param {string} task @returns {Box} */
export const targetBox = (task) => lastFocused.get(task) ?? "prompt";

/** Both prompts of a task. @param {string} task */
export const readPrompts = (task) => ({
  prompt: textArea(task, "prompt")?.value ?? "",
  negative: textArea(task, "negative")?.value ?? "",
});

/** Put text into a box as if it had been typed. @param {string} task @param {Box} box @param {string} text */
export function write(task, box, text) {
  const area = textArea(task, box);
  if (!area || area.value === text) return;
  area.value = text;
  area.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Call `listener` with a task's name whenever one of its prompts changed. @param {(task: string) => void} listener @param {AbortSignal} [signal] */
export function onEdit(listener, signal) {
  document.addEventListener("input", (event) => withBox(event.target, (task) => listener(task)), { signal });
  document.addEventListener(CHANGED, (event) => event instanceof CustomEvent && listener(event.detail), { signal });
}

/** Tell of a change that nobody typed: gradio puts values into the boxes without an event. @param {string} task */
export function changed(task) {
  requestAnimationFrame(() => document.dispatchEvent(new CustomEvent(CHANGED, { detail: task })));
}

/** Remember which box has the focus, and keep the texts when the page is left, for `restore` or gradio to give back. */
export function watchPrompts() {
  document.addEventListener("focusin", (event) => withBox(event.target, (task, box) => lastFocused.set(task, box)));
  window.addEventListener("pagehide", () =>
    eachBox((task, box, area) => sessionStorage.setItem(storageKey(task, box), area.value)),
  );
}

/** Give the boxes the texts they had when the page was left. */
export function restorePrompts() {
  eachBox((task, box, area) => write(task, box, sessionStorage.getItem(storageKey(task, box)) || area.value));
}

/** @param {string} task @param {Box} box */
const storageKey = (task, box) => `tagbrush.${task}.${box}`;

/** @param {(task: string, box: Box, area: HTMLTextAreaElement) => void} use */
function eachBox(use) {
  for (const task of ["txt2img", "img2img"]) {
    for (const box of /** @type {Box[]} */ (["prompt", "negative"])) {
      const area = textArea(task, box);
      if (area) use(task, box, area);
    }
  }
}

/** The task whose prompt box this is, or "". @param {EventTarget | null} target */
export function taskOf(target) {
  let found = "";
  withBox(target, (task) => (found = task));
  return found;
}

/** @param {EventTarget | null} target @param {(task: string, box: Box) => void} use */
function withBox(target, use) {
  eachBox((task, box, area) => area === target && use(task, box));
}
