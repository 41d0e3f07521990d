/**
 * What runtimes say in words alone of a connection that never came to be: there is no code to go by. A submission goes
 * out again after these, so each stands at the beginning of its message, where nothing of a server's can stand.
 */
export const neverConnectedWords: readonly RegExp[] = [
  // Deno 2 (reqwest): "error sending request for url (http://…): client error (Connect): tcp connect error: …".
  /^(?:error sending request(?: for url \([^\s)]*\))?: )?client error \(Connect\)/,
  // Bun 1.4, for a server that speaks no TLS: "EPROTO: The TLS handshake failed. Does the server speak TLS on this port?";
  // workerd: "TLS handshake failed: …".
  /^(?:EPROTO: The )?TLS handshake failed/,
  // Deno 2, for a server that wants a certificate of the client: TLS 1.3 says so once the client could already send.
  /^received fatal alert: (?:\w*Certificate\w*|UnknownCA|AccessDenied)$/,
  // Node: a port that the Fetch standard forbids. "fetch failed" has it as its cause.
  /^bad port$/,
];

interface TunnelRefusal {
  words: RegExp;
  /** Where the words don't hold it. */
  status?: number;
}

/** What runtimes say of a proxy (HTTPS_PROXY) that refused to open a tunnel to the service, and by which status. */
export const tunnelRefusals: readonly TunnelRefusal[] = [
  // Node and undici, two causes down: "Proxy response (403) !== 200 when HTTP Tunneling".
  { words: /^Proxy response \((\d{3})\) !== 200 when HTTP Tunneling$/ },
  // Bun 1.4: "Proxy refused to open a tunnel: 403 Forbidden".
  { words: /^Proxy refused to open a tunnel: (\d{3})\b/ },
  // Deno 2 has words of its own for this one status.
  {
    words: /^error sending request(?: for url \([^\s)]*\))?: client error \(Connect\): proxy authentication required$/,
    status: 407,
  },
];
