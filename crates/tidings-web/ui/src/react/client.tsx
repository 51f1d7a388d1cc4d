import { createContext, type ReactNode, useContext, useEffect, useLayoutEffect, useMemo, useState } from "react";
import type { Token } from "../options.js";
import { TidingsClient } from "../websocket.js";

/** The client that components below use, where they are given none. */
export const TidingsContext = createContext<TidingsClient | null>(null);

export interface ClientChoice {
  /** The server's address. Default: the page's origin. */
  url?: string | undefined;
  /**
   * The token, or how to get one. `null` while there is none yet: the connection
   * then waits for it. A page has one token for each server; the newest one
   * given is used.
   */
  token?: Token | null | undefined;
  /** A client of your own, in place of the one that all share. */
  client?: TidingsClient | undefined;
}

/** One client for each server, so that all components of a page share one socket. */
const shared = new Map<string, TidingsClient>();

/** An effect that runs before any store begins to watch. A server runs none. */
export const useEarlyEffect = typeof document === "undefined" ? useEffect : useLayoutEffect;

function clientFor(url: string | undefined): TidingsClient {
  // A server renders for many people at a time: they share nothing.
  if (typeof document === "undefined") return new TidingsClient({ url });
  const key = url ?? "";
  const known = shared.get(key) ?? new TidingsClient({ url });
  shared.set(key, known);
  return known;
}

/** Returns the client to use: the one given, the one around, or the page's own. */
export function useTidingsClient({ url, token, client }: ClientChoice = {}): TidingsClient {
  const around = useContext(TidingsContext);
  const own = useMemo(() => (client || (around && url === undefined) ? null : clientFor(url)), [client, around, url]);
  const chosen = client ?? own ?? around!;
  useEarlyEffect(() => {
    if (token !== undefined) chosen.setToken(token);
  }, [chosen, token]);
  return chosen;
}

export interface TidingsProviderProps extends ClientChoice {
  children?: ReactNode;
}

/** Gives the components below a client of their own, or the one given. */
export function TidingsProvider({ url, token, client, children }: TidingsProviderProps) {
  const [own] = useState(() => client ?? new TidingsClient({ url, token: token === undefined ? undefined : null }));
  const chosen = useTidingsClient({ client: client ?? own, token });
  return <TidingsContext.Provider value={chosen}>{children}</TidingsContext.Provider>;
}
