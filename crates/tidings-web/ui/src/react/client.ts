import { createContext, useContext, useMemo } from "react";
import type { Token } from "../options.js";
import { TidingsClient } from "../websocket.js";

/** The client that components below use, where they are given none. */
export const TidingsContext = createContext<TidingsClient | null>(null);

export interface ClientChoice {
  /** Where the server is. Default: where the page is from. */
  url?: string;
  /** A token, or how to get one. The newest one given is used, also for reconnects. */
  token?: Token;
  /** A client of your own, in place of the one that all share. */
  client?: TidingsClient;
}

interface Shared {
  client: TidingsClient;
  token: Token | undefined;
}

/** One client for each server, so that all components of a page share one socket. */
const shared = new Map<string, Shared>();

function sharedClient(url: string): Shared {
  let known = shared.get(url);
  if (!known) {
    const entry: Shared = { client: null as never, token: undefined };
    entry.client = new TidingsClient({
      ...(url ? { url } : {}),
      token: (why) => (typeof entry.token === "function" ? entry.token(why) : (entry.token ?? "")),
    });
    shared.set(url, (known = entry));
  }
  return known;
}

/** The client to use: the one given, the one around, or the page's own. */
export function useTidingsClient({ url, token, client }: ClientChoice = {}): TidingsClient {
  const around = useContext(TidingsContext);
  const own = useMemo(() => (client || (around && url === undefined) ? null : sharedClient(url ?? "")), [client, around, url]);
  // Read when a connection is made; a token is no reason to make another client.
  if (own && token !== undefined) own.token = token;
  return client ?? own?.client ?? around!;
}
