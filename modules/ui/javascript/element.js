// A small base for our elements: they mount when gradio shows them and let go of everything when it takes them away.

/** @param {string} tag @param {Record<string, any>} [properties] @param {(Node | string)[]} children */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

export class Mounted extends HTMLElement {
  /** @type {AbortController | null} */
  #leaving = null;

  connectedCallback() {
    this.#leaving = new AbortController();
    this.replaceChildren();
    this.mount(this.#leaving.signal);
  }

  disconnectedCallback() {
    this.#leaving?.abort();
  }

  /** Build the content; everything listened to ends with `signal`. @param {AbortSignal} _signal */
  mount(_signal) {}
}
