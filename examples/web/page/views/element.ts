/** The element with this id. Throws if it isn't of this kind. */
export function element<Kind extends Element>(id: string, kind: new () => Kind): Kind {
  const found = document.getElementById(id);
  if (found instanceof kind) return found;
  throw new Error(`index.html has no ${kind.name} with the id ${id}.`);
}

/** The first element within `parent` that matches and is of this kind. */
export function within<Kind extends Element>(parent: ParentNode, selector: string, kind: new () => Kind): Kind {
  const found = parent.querySelector(selector);
  if (found instanceof kind) return found;
  throw new Error(`There is no ${kind.name} that matches ${selector}.`);
}

/** Sets the text only if it differs, because screen readers announce every change. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Says beside a field what is wrong with it, or with an empty text that nothing is. */
export function showProblem(field: HTMLElement, place: HTMLElement, problem: string): void {
  setText(place, problem);
  if (problem === "") field.removeAttribute("aria-invalid");
  else field.setAttribute("aria-invalid", "true");
}

/** The same when the form is sent: it also leads to the field, which may be folded away. */
export function complain(field: HTMLElement, place: HTMLElement, problem: string): undefined {
  showProblem(field, place, problem);
  const folded = field.closest("details");
  if (folded) folded.open = true;
  field.focus();
}
