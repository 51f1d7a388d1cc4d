/** Returns a value from the browser's storage. In some private windows the storage throws. */
export function recall(storage: () => Storage, key: string): string | null {
  try {
    return storage().getItem(key);
  } catch {
    return null;
  }
}

/** Stores a value. Without storage, the value is lost when the page is closed. */
export function keep(storage: () => Storage, key: string, value: string): void {
  try {
    storage().setItem(key, value);
  } catch {
    // Storing is optional.
  }
}

/** Removes a value. */
export function forget(storage: () => Storage, key: string): void {
  try {
    storage().removeItem(key);
  } catch {
    // There was no value.
  }
}
