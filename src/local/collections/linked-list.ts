/** An entry of a {@link LinkedList}. */
export interface Link<Value> {
  readonly value: Value;
  previous: Link<Value> | undefined;
  next: Link<Value> | undefined;
}

/**
 * A queue from which a value can be removed in the middle at no cost, as a cancelled job is. (A `Set` keeps the order
 * too, but finding its first entry walks over all entries that were removed before it.)
 */
export class LinkedList<Value> {
  #first: Link<Value> | undefined;
  #last: Link<Value> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Link<Value> | undefined {
    return this.#first;
  }

  push(value: Value): Link<Value> {
    const link: Link<Value> = { value, previous: this.#last, next: undefined };
    if (this.#last === undefined) this.#first = link;
    else this.#last.next = link;
    this.#last = link;
    this.#size++;
    return link;
  }

  unshift(value: Value): Link<Value> {
    const link: Link<Value> = { value, previous: undefined, next: this.#first };
    if (this.#first === undefined) this.#last = link;
    else this.#first.previous = link;
    this.#first = link;
    this.#size++;
    return link;
  }

  /** Removes a link, which must be in this list. The caller must not remove it twice. */
  remove(link: Link<Value>): void {
    if (link.previous === undefined) this.#first = link.next;
    else link.previous.next = link.next;
    if (link.next === undefined) this.#last = link.previous;
    else link.next.previous = link.previous;
    this.#size--;
  }

  *[Symbol.iterator](): Generator<Value> {
    for (let link = this.#first; link !== undefined; link = link.next) yield link.value;
  }
}
