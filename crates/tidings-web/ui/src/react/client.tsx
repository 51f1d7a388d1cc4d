import { createContext, type ReactNode, useContext, useEffect, useLayoutEffect, useMemo, useState } from "react";
import type { Token } from "../options.js";
import { TidingsClient } from "../websocket.js";

/** The client for the components below that have no client of their own. */
export const TidingsContext = createContext<TidingsClient | null>(null);

export interface ClientChoice {
  /** The server's address. Default: the page's origin. */
  url?: string | undefined;
  /**
   * The token, or a function that returns it. Use `null` while there is no token yet; the
   * connection then waits. A page has one token for each server, which is the one that was passed
   * last.
   */
  token?: Token | null | undefined;
  /** A client of your own, instead of the shared one. */
  client?: TidingsClient | undefined;
}

/** One client for each server, so that all components of a page share one socket. */
const shared = new Map<string, TidingsClient>();

/** An effect that runs before any store starts to watch. It does not run on a server. */
export const useEarlyEffect = typeof document === "undefined" ? useEffect : useLayoutEffect;

function clientFor(url: string | undefined): TidingsClient {
  // A server renders for many people at a time, so they must not share a client.
  if (typeof document === "undefined") return new TidingsClient({ url });
  const key = url ?? "";
  const known = shared.get(key) ?? new TidingsClient({ url });
  shared.set(key, known);
  return known;
}

/** Returns the client to use: the given one, the context's, or the page's shared one. */
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

/** Provides the components below with the given client, or with one of their own. */
export function TidingsProvider({ url, token, client, children }: TidingsProviderProps) {
  const [own] = useState(() => client ?? new TidingsClient({ url, token: token === undefined ? undefined : null }));
  const chosen = useTidingsClient({ client: client ?? own, token });
  return <TidingsContext.Provider value={chosen}>{children}</TidingsContext.Provider>;
}
