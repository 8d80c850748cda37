// The newest entries of the list of events: at most KEPT, with at most KEPT_CHARS characters.

const KEPT = 5000;
const KEPT_CHARS = 32 << 20;

// The newest entries, each with its number.
export class Kept {
  #items = [];
  #first = 0;
  #chars = 0;
  last = 0;

  push(entry) {
    entry.number = ++this.last;
    this.#items.push(entry);
    this.#chars += size(entry);
    while (this.length > KEPT || (this.#chars > KEPT_CHARS && this.length > 1)) {
      this.#chars -= size(this.#items[this.#first]);
      this.#items[this.#first++] = undefined;
    }
    if (this.#first >= KEPT) this.#items = this.#items.splice(this.#first), this.#first = 0;
  }

  get length() {
    return this.#items.length - this.#first;
  }

  clear() {
    [this.#items, this.#first, this.#chars] = [[], 0, 0];
  }

  // Yields the entries before a number, newest first.
  *back(before = Infinity) {
    const end = Math.min(this.#items.length, before - (this.last - this.#items.length) - 1);
    for (let at = end - 1; at >= this.#first; at--) yield this.#items[at];
  }

  copy() {
    const copied = new Kept();
    [copied.#items, copied.#chars, copied.last] = [this.#items.slice(this.#first), this.#chars, this.last];
    return copied;
  }
}

const size = ({ data, text, headers }) => (data ?? text).length + (headers ? JSON.stringify(headers).length : 0);
