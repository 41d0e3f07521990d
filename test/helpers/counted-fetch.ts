/** A fetch over the network whose requests count until the last byte of their answer has come. */
export function countedFetch(): { fetch: typeof fetch; inFlight(): number } {
  let inFlight = 0;
  return {
    // The whole answer is read here, so that the count includes it.
    fetch: async (input, init) => {
      inFlight++;
      try {
        const response = await fetch(input, init);
        const body = await response.arrayBuffer();
        const { status, headers } = response;
        return new Response(status === 204 || status === 304 ? null : body, { status, headers });
      } finally {
        inFlight--;
      }
    },
    inFlight: () => inFlight,
  };
}
