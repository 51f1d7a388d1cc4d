/** An address that a producer has given, once it is known to be harmless. */
export interface WebAddress {
  readonly href: string;
  /** The host, if it is not the page's own. */
  readonly host: string | null;
}

/**
 * Returns where an address leads, if that is a web page: nothing that a producer
 * calls a link becomes a script, and `//host` is not taken for a path.
 */
export function webAddress(text: string | null | undefined): WebAddress | null {
  if (!text || !/^(?:https?:\/\/|\/)/i.test(text)) return null;
  const here = typeof location === "undefined" ? "http://localhost/" : location.href;
  try {
    const url = new URL(text, here);
    if (!/^https?:$/.test(url.protocol)) return null;
    return { href: url.href, host: url.origin === new URL(here).origin ? null : url.host };
  } catch {
    return null;
  }
}
