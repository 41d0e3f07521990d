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
  // Node: a port that the Fetch standard forbids. "fetch failed" has it as its cause.
  /^bad port$/,
];
