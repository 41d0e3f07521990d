/** One request that was let in. */
export interface ProxyCall {
  readonly request: Request;
  /** When it came, by the clock: what it may be held for is counted from here. Milliseconds. */
  readonly arrivedAt: number;
  readonly url: URL;
  /** Where the proxy is mounted: empty, or a path without a slash at its end. */
  readonly prefix: string;
  /** The route's own part of the path, undecoded; empty where it has none. */
  readonly parameter: string;
  /** Who asks; empty where nobody was asked to say. */
  readonly subject: string;
}

export type Handler = (call: ProxyCall) => Promise<Response>;
