// The server's event stream: one connection a page, shared by all who listen.
// The browser reconnects by itself and says what it has seen (Last-Event-ID), so nothing is missed.

import { at } from "./api.js";

const KINDS = ["snapshot", "job", "queue", "progress", "preview", "picture", "notice", "worker", "catalogue"];

const hub = new EventTarget();
/** @type {EventSource | null} */
let stream = null;

function connect() {
  stream = new EventSource(at("/tagbrush/v1/events"));
  for (const kind of KINDS) {
    stream.addEventListener(kind, (event) => {
      hub.dispatchEvent(new CustomEvent(kind, { detail: JSON.parse(event.data) }));
    });
  }
  stream.onopen = () => hub.dispatchEvent(new CustomEvent("connection", { detail: true }));
  stream.onerror = () => {
    hub.dispatchEvent(new CustomEvent("connection", { detail: false }));
    if (stream?.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

/**
 * Call `listener` with the data of every event of `kind` ("connection" tells whether the stream is up).
 * @param {string} kind @param {(data: any) => void} listener @param {AbortSignal} [signal]
 */
export function on(kind, listener, signal) {
  hub.addEventListener(kind, (event) => listener(/** @type {CustomEvent} */ (event).detail), { signal });
  if (!stream) connect();
}
