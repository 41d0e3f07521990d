// @ts-check
/**
 * A job's image at full size.
 *
 * @import { PageJob } from "../src/local/status-page/job-list.ts"
 */

import { byId, makeScrollable, setText } from "./elements.js";

const viewer = byId("viewer", HTMLDialogElement);
const parts = {
  title: byId("viewer-title", HTMLElement),
  size: byId("viewer-size", HTMLElement),
  picture: byId("viewer-picture", HTMLImageElement),
  stage: byId("viewer-stage", HTMLElement),
  fit: byId("viewer-fit", HTMLButtonElement),
  download: byId("viewer-download", HTMLAnchorElement),
  close: byId("viewer-close", HTMLButtonElement),
};

/** @param {PageJob} job @param {string} path */
export function showPicture(job, path) {
  const extension = job.picture?.replace("image/", "").replace("jpeg", "jpg") ?? "png";
  setText(parts.title, job.title);
  setText(parts.size, "");
  parts.picture.src = path;
  parts.picture.alt = `${job.title}`;
  parts.download.href = path;
  parts.download.download = `${job.id}.${extension}`;
  viewer.showModal();
}

makeScrollable(parts.stage, "Image at full size");
parts.picture.addEventListener("load", () => {
  const { naturalWidth, naturalHeight } = parts.picture;
  setText(parts.size, `${naturalWidth} × ${naturalHeight}`);
});
parts.fit.addEventListener("click", () => {
  const isFit = viewer.toggleAttribute("data-fit");
  parts.fit.ariaPressed = String(isFit);
});
parts.close.addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => {
  // All of the dialog is covered by its children, so that this is a click beside it.
  if (event.target === viewer) viewer.close();
});
viewer.addEventListener("close", () => parts.picture.removeAttribute("src"));
