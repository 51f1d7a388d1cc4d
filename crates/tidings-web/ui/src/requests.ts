import { TidingsError } from "./error.js";
import type { Ack } from "./generated/protocol.js";

/** The most requests that may wait for their answers. */
const MAX_PENDING = 1_000;

interface Pending {
  message: object;
  /** Whether sending the request twice is safe. */
  repeatable: boolean;
  sent: boolean;
  timer: ReturnType<typeof setTimeout>;
  resolve: (ack: Ack) => void;
  reject: (error: TidingsError) => void;
}

/** Publishes and commands that have no answer yet, across reconnects. */
export class Requests {
  readonly #pending = new Map<unknown, Pending>();
  readonly #send: (message: object) => boolean;
  readonly #idle: () => void;
  readonly #timeout: number;

  constructor(send: (message: object) => boolean, idle: () => void, timeout: number) {
    this.#send = send;
    this.#idle = idle;
    this.#timeout = timeout;
  }

  get size(): number {
    return this.#pending.size;
  }

  add(ref: number, message: object, repeatable: boolean): Promise<Ack> {
    if (this.size >= MAX_PENDING) {
      return Promise.reject(new TidingsError("busy", `${MAX_PENDING} requests wait already`));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(ref, "timeout", "no answer in time"), this.#timeout);
      const pending: Pending = { message: { ...message, ref }, repeatable, sent: false, timer, resolve, reject };
      this.#pending.set(ref, pending);
      pending.sent = this.#send(pending.message);
    });
  }

  /** Sends the waiting requests in their original order, because there is a connection. */
  flush(): void {
    for (const pending of this.#pending.values()) pending.sent ||= this.#send(pending.message);
  }

  /** Handles the loss of the connection, and of the answers that were on their way. */
  lost(): void {
    for (const [ref, pending] of [...this.#pending]) {
      if (!pending.sent) continue;
      if (pending.repeatable) pending.sent = false;
      else this.#fail(ref, "connection_lost", "the connection broke before the answer");
    }
  }

  /** Handles the server's acknowledgement of a request. */
  taken(ack: Ack): void {
    const pending = this.#remove(ack.ref);
    pending?.resolve(ack);
  }

  refused(ref: unknown, code: TidingsError["code"], message: string): void {
    this.#fail(ref, code, message);
  }

  close(): void {
    for (const ref of [...this.#pending.keys()]) this.#fail(ref, "closed", "the client was closed");
  }

  #fail(ref: unknown, code: TidingsError["code"], message: string): void {
    this.#remove(ref)?.reject(new TidingsError(code, message));
  }

  #remove(ref: unknown): Pending | undefined {
    const pending = this.#pending.get(ref);
    if (!pending) return undefined;
    clearTimeout(pending.timer);
    this.#pending.delete(ref);
    if (this.size === 0) this.#idle();
    return pending;
  }
}
