import { identify, LayerDiffuseError } from "./base.ts";

/* Errors with an image that was generated and paid for. */

/** The job completed, but its image is missing, incomplete or not a PNG. */
export class InvalidImageError extends LayerDiffuseError {
  declare readonly name: "InvalidImageError";
  declare readonly code: "invalid_image";
  static {
    identify(InvalidImageError, "InvalidImageError", "invalid_image");
  }
}

/** The image couldn't be written to a file. You still have it: call `save()` again with another path. */
export class FileError extends LayerDiffuseError {
  declare readonly name: "FileError";
  declare readonly code: "file";
  static {
    identify(FileError, "FileError", "file");
  }
}
