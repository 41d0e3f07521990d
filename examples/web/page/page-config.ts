/** What the page's server tells it. */
export interface PageConfig {
  /** How many images the server generates at once for one person. */
  readonly concurrency: number;
  /** How many images one person may request in a minute. */
  readonly ratePerMinute: number;
  /** What one second on the GPU costs, in USD. Without it the page shows no costs. */
  readonly pricePerSecond?: number | undefined;
}

/** What the proxy allows by default. */
export const defaultConfig: PageConfig = { concurrency: 4, ratePerMinute: 30 };

/** Reads the attributes that server.ts writes on the page's body. */
export function readConfig({ dataset }: HTMLElement): PageConfig {
  const { concurrency, ratePerMinute, pricePerSecond } = dataset;
  return {
    concurrency: Number(concurrency) || defaultConfig.concurrency,
    ratePerMinute: Number(ratePerMinute) || defaultConfig.ratePerMinute,
    pricePerSecond: Number(pricePerSecond) || undefined,
  };
}
