/** An address from a producer that was checked to be harmless. */
export interface WebAddress {
  readonly href: string;
  /** The host, if it is not the page's own. */
  readonly host: string | null;
}

/**
 * Returns the target of an address if it is a web page. A producer's link can therefore never be a
 * script, and `//host` is not mistaken for a path.
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
