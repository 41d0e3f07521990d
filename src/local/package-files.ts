/**
 * The address of a file that the package carries beside `src` and `dist`. This source file must stay two folders below
 * the package's, as `dist/local/index.js` is, so that the path is right in both.
 *
 * @param path from the package's folder
 */
export function packageFile(path: string): URL {
  return new URL(`../../${path}`, import.meta.url);
}
