// The service worker of the worker's phone: keeps every file that is needed without a line, and sends the queue when the
// browser says that a line is back. VERSION and FILES (address → SHA-256) stand above, written by the server.
import { send } from "/static/field/queue.js";
import { forgetOpen } from "/static/field/store.js";

const CACHE = `wangge-field-${VERSION}`;
const SHELL = "/field";

self.addEventListener("install", (event) => event.waitUntil(takeIn()));

/** Fetch every file and keep all of them or none: half an update is never used. */
async function takeIn() {
  const cache = await caches.open(CACHE);
  await Promise.all([...Object.entries(FILES), [SHELL, null]].map(async ([address, hash]) => {
    if (await cache.match(address)) return;
    const answer = await fetch(`${address}?v=${hash ? hash.slice(0, 10) : VERSION}`, { cache: hash ? "default" : "no-store", credentials: hash ? "omit" : "same-origin" });
    if (!answer.ok) throw new Error(`${address} ${answer.status}`);
    if (hash) {
      const bytes = await answer.clone().arrayBuffer();
      const found = [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
      if (found !== hash) throw new Error(`${address} is not the file that was listed`);
    }
    await cache.put(address, answer);
  }));
}

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  // Caches alone: what waits to be sent stands in IndexedDB, which no update touches.
  for (const name of await caches.keys()) if (name.startsWith("wangge-field-") && name !== CACHE) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener("message", (event) => {
  if (event.data === "take over") self.skipWaiting();
  if (event.data === "account") forgetOpen();
});

self.addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  if (event.request.method !== "GET" || address.origin !== self.location.origin) return;
  const shell = event.request.mode === "navigate" && (address.pathname === SHELL || address.pathname === `${SHELL}/`);
  if (shell || address.pathname in FILES) event.respondWith(fromHere(event.request, shell ? SHELL : address.pathname));
});

async function fromHere(request, address) {
  const cache = await caches.open(CACHE);
  return (await cache.match(address)) ?? fetch(request);
}

self.addEventListener("sync", (event) => {
  if (event.tag !== "queue") return;
  event.waitUntil(send().then((outcome) => {
    // The browser comes again by itself when this fails.
    if (outcome.state === "offline") throw new Error("no line");
  }));
});
