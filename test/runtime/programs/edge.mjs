// workerd: what Cloudflare's edge does before a worker. It says who asks, and tells the worker of a caller who leaves:
// here one who sends `x-leaves`, as soon as a worker has the job.
export default {
  async fetch(request, { worker, endpoint }) {
    const headers = new Headers(request.headers);
    headers.set("cf-connecting-ip", "203.0.113.7");
    const asked = new Request(request, { headers });
    if (!headers.has("x-leaves")) return await worker.fetch(asked);
    const left = new AbortController();
    const answer = worker.fetch(asked, { signal: left.signal }).catch((error) => new Response(error.name));
    await untilRunning(endpoint);
    left.abort();
    return await answer;
  },
};

async function untilRunning(endpoint) {
  for (;;) {
    const response = await fetch(`${endpoint}/local/health`, { headers: { authorization: "Bearer local" } });
    const { jobs } = await response.json();
    if (jobs.inProgress > 0) return;
  }
}
