const cents = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const fractions = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumSignificantDigits: 2 });

/** `$0.0012`: an image costs a fraction of a cent. */
export function inDollars(cost: number): string {
  return (cost < 0.1 ? fractions : cents).format(cost);
}

export function countImages(count: number): string {
  return count === 1 ? "1 image" : `${count} images`;
}

/** `1:05` */
export function minutesAndSeconds(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1_000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** `1.5 s` */
export function inSeconds(milliseconds: number): string {
  return `${(milliseconds / 1_000).toFixed(1)} s`;
}
