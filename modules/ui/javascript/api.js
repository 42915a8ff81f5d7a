// Requests to the server. Every failure becomes an Error whose message can be shown as it stands.

// Where the server is shown: nothing, or what a proxy puts before its paths (--subpath).
const PLACE = new URL("../../..", import.meta.url).pathname.replace(/\/$/, "");

/** The address of one of the server's own paths. @param {string} path */
export const at = (path) => PLACE + path;

const ROOT = at("/tagbrush/v1");

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} */
async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(ROOT + path, options);
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  const body = response.headers.get("content-type")?.includes("json") ? await response.json() : null;
  if (!response.ok) throw new Error(reason(body, response));
  return body;
}

/** @param {any} body @param {Response} response */
function reason(body, response) {
  const told = body?.errors || body?.detail || body?.error;
  return typeof told === "string" && told ? told : `The server answered ${response.status} ${response.statusText}.`;
}

/** @param {string} path */
export const get = (path) => request(path);

/** @param {string} path @param {unknown} [body] */
export const post = (path, body) =>
  request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });

/** Store a picture's bytes; its id is what requests call it by. @param {Blob} blob @returns {Promise<{id: string, width: number, height: number}>} */
export const storePicture = (blob) => request("/inputs", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: blob });

/** Everything a picture's file says of itself. @param {Blob} blob @param {string} task */
export const readPicture = (blob, task = "txt2img") =>
  request(`/infotext/read?task=${task}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: blob });

/** One page of a kind of files. @param {string} kind @param {Record<string, string | number>} query */
export const searchCatalogue = (kind, query) =>
  get(`/catalogue/${kind}?${new URLSearchParams(Object.entries(query).map(([key, value]) => [key, String(value)]))}`);
