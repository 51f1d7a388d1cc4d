/** What a browser keeps for the page, where it does: in some private windows it throws. */
export function recall(storage: () => Storage, key: string): string | null {
  try {
    return storage().getItem(key);
  } catch {
    return null;
  }
}

/** Keeps a value; without storage it holds until the page is closed. */
export function keep(storage: () => Storage, key: string, value: string): void {
  try {
    storage().setItem(key, value);
  } catch {
    // Nothing depends on it.
  }
}

/** Forgets a value. */
export function forget(storage: () => Storage, key: string): void {
  try {
    storage().removeItem(key);
  } catch {
    // There was none.
  }
}
