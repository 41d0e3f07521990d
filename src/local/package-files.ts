/**
 * A file that is packed beside `src` and `dist`. This file lies two folders below the package's own, here and in the
 * built files, so the path is the same in both.
 *
 * @param path from the package's folder
 */
export function packageFile(path: string): URL {
  return new URL(`../../${path}`, import.meta.url);
}
