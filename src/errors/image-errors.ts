import { identify, LayerDiffuseError } from "./base.ts";

/* What goes wrong with an image that was paid for. */

/** The job completed, but its image is missing, cut short or no PNG. */
export class InvalidImageError extends LayerDiffuseError {
  declare readonly name: "InvalidImageError";
  declare readonly code: "invalid_image";
  static {
    identify(InvalidImageError, "InvalidImageError", "invalid_image");
  }
}

/** The image is there, and could not be written to a file. It is still in hand: try `save()` again elsewhere. */
export class FileError extends LayerDiffuseError {
  declare readonly name: "FileError";
  declare readonly code: "file";
  static {
    identify(FileError, "FileError", "file");
  }
}
