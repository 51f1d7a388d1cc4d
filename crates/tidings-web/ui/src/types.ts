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

/** The data of each known event type: the standard types, and those in {@link CustomEvents}. */
export type DataByType = { [E in EventData as E["event_type"]]: E["data"] } & CustomEvents;

/** The names of the known event types. */
export type KnownEventType = keyof DataByType;

/**
 * A placeholder for the name of an event type that is neither standard nor declared in {@link
 * CustomEvents}. No real name ends in a question mark. A comparison with a known name therefore
 * excludes this type.
 */
export type OtherEventType = `${string}?`;

type EventBase = Omit<EventRecord, "event_type" | "data">;

/** An event of a known type. */
export type EventOf<T extends KnownEventType> = T extends KnownEventType
  ? EventBase & { readonly event_type: T; readonly data: DataByType[T] }
  : never;

/** An event of a type that is neither standard nor declared. */
export type OtherEvent = EventBase & { readonly event_type: OtherEventType; readonly data: Fields };

/** An event of a task. Its `event_type` determines the type of `data`. */
export type TidingsEvent = EventOf<KnownEventType> | OtherEvent;

type NewBase = Omit<NewEvent, "event_type" | "data">;

/** Known types whose data may be left out, because all of its fields are optional. */
type Bare = { [T in KnownEventType]: {} extends DataByType[T] ? T : never }[KnownEventType];

type NewEventOf<T extends KnownEventType> = T extends Bare
  ? NewBase & { event_type: T; data?: DataByType[T] }
  : T extends KnownEventType
    ? NewBase & { event_type: T; data: DataByType[T] }
    : never;

/**
 * An event to publish. For a type that is neither standard nor declared in {@link CustomEvents},
 * use {@link customEvent}. A misspelt name therefore does not compile.
 */
export type NewTidingsEvent = NewEventOf<KnownEventType> | (NewBase & { event_type: OtherEventType; data?: Fields });

/** Creates an event of an application's own type, to publish it. */
export function customEvent(event_type: string, data: Fields = {}): NewBase & { event_type: OtherEventType; data: Fields } {
  return { event_type: event_type as OtherEventType, data };
}

/** Returns whether an event has this type. Use it for types that are not declared. */
export function isEvent<T extends KnownEventType>(event: TidingsEvent, event_type: T): event is EventOf<T>;
export function isEvent(event: TidingsEvent, event_type: string): boolean;
export function isEvent(event: TidingsEvent, event_type: string): boolean {
  return event.event_type === event_type;
}
