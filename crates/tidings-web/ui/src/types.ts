import type { EventData, EventRecord, Fields, NewEvent } from "./generated/protocol.js";

/**
 * Declares the event types of an application, with their data:
 *
 * ```ts
 * declare module "@tidings/client" {
 *   interface CustomEvents {
 *     "cache.hit": { key: string };
 *   }
 * }
 * ```
 */
export interface CustomEvents {}

/** The data of each event type that is known: the standard ones and those in {@link CustomEvents}. */
export type DataByType = { [E in EventData as E["event_type"]]: E["data"] } & CustomEvents;

/** The names of the event types that are known. */
export type KnownEventType = keyof DataByType;

/**
 * Stands for the name of an event type that is neither standard nor declared in
 * {@link CustomEvents}. No real name ends in a question mark, so that comparing
 * with a known name leaves this type out.
 */
export type OtherEventType = `${string}?`;

type EventBase = Omit<EventRecord, "event_type" | "data">;

/** An event of one known type. */
export type EventOf<T extends KnownEventType> = T extends KnownEventType
  ? EventBase & { readonly event_type: T; readonly data: DataByType[T] }
  : never;

/** An event of a type that is neither standard nor declared. */
export type OtherEvent = EventBase & { readonly event_type: OtherEventType; readonly data: Fields };

/** An event of a task. Its `event_type` says what `data` holds. */
export type TidingsEvent = EventOf<KnownEventType> | OtherEvent;

type NewBase = Omit<NewEvent, "event_type" | "data">;

/** Known types whose data may be left out, because every field is optional. */
type Bare = { [T in KnownEventType]: {} extends DataByType[T] ? T : never }[KnownEventType];

type NewEventOf<T extends KnownEventType> = T extends Bare
  ? NewBase & { event_type: T; data?: DataByType[T] }
  : T extends KnownEventType
    ? NewBase & { event_type: T; data: DataByType[T] }
    : never;

/**
 * An event to publish. A type that is neither standard nor declared in
 * {@link CustomEvents} is made with {@link customEvent}, so that a misspelt
 * name does not compile.
 */
export type NewTidingsEvent = NewEventOf<KnownEventType> | (NewBase & { event_type: OtherEventType; data?: Fields });

/** Makes an event of an application's own type, to be published. */
export function customEvent(event_type: string, data: Fields = {}): NewBase & { event_type: OtherEventType; data: Fields } {
  return { event_type: event_type as OtherEventType, data };
}

/** Returns whether an event has this type. Useful for types that are not declared. */
export function isEvent<T extends KnownEventType>(event: TidingsEvent, event_type: T): event is EventOf<T>;
export function isEvent(event: TidingsEvent, event_type: string): boolean;
export function isEvent(event: TidingsEvent, event_type: string): boolean {
  return event.event_type === event_type;
}
