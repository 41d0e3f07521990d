// workerd: the Cloudflare example, with bindings as Cloudflare makes them.
import example from "./worker.mjs";

const kept = new Map();
const IMAGES = {
  head: async (key) => (kept.has(key) ? { key } : null),
  get: async (key) => (kept.has(key) ? { arrayBuffer: async () => kept.get(key).slice().buffer } : null),
  put: async (key, value) => void kept.set(key, new Uint8Array(value)),
  delete: async (key) => void kept.delete(key),
};
const RATE = { limit: async () => ({ success: true }) };

export default {
  fetch: (request, environment, context) => example.fetch(request, { ...environment, IMAGES, RATE }, context),
};
