import { type KeyboardEvent, type MouseEvent, useState } from "react";
import { type CommandProgress, useCommandOf } from "../../react/useCommand.js";
import type { CommandsProps } from "../Commands.js";
import type { Labels } from "../labels.js";
import { plain } from "../log/Ansi.js";
import { usePaused } from "./usePaused.js";

/** A tap that follows another one within this many milliseconds belongs to it. */
const DOUBLE_TAP = 500;

/** The tone of each command state. */
const TONES: Record<CommandProgress["state"], string> = {
  asking: "pending",
  asked: "pending",
  accepted: "running",
  completed: "completed",
  rejected: "failed",
  failed: "failed",
};

interface Props extends Omit<CommandsProps, "labels" | "permissions"> {
  /** Whether to offer commands. */
  offered: boolean;
  labels: Labels;
}

/** The buttons: pause or resume while the task runs, and another run after its end. This module is loaded with the first task. */
export default function Commands({ client, task, command, commands, events, status, offered, labels }: Props) {
  const { last, send } = useCommandOf({ command, commands });
  const [sure, setSure] = useState<{ name: string; since: number } | null>(null);
  const paused = usePaused({ client, task, commands, events, status });
  const names = !offered ? [] : task?.status === "running" ? [paused ? "resume" : "pause", "cancel"] : ["retry"];
  const away = status.state !== "connected";
  const ask = (name: string, { detail, nativeEvent, timeStamp }: MouseEvent) => {
    if (name === "cancel" && sure?.name !== name) return setSure({ name, since: timeStamp });
    // The second click of a double click was meant for what stood here before, and so was a double tap's.
    const touch = (nativeEvent as Partial<PointerEvent>).pointerType === "touch";
    if (sure?.name === name && (detail > 1 || (touch && timeStamp - sure.since < DOUBLE_TAP))) return;
    setSure(null);
    void send(name);
  };
  const pressed = (event: KeyboardEvent) => {
    if (event.key === "Escape") setSure(null);
    // A key that is held down presses once.
    if (event.repeat && event.key === "Enter") event.preventDefault();
  };
  const label = (name: string) => labels.commands[name] ?? plain(name);
  const said = last && labels.commandStates[last.state];
  const mine = last && `${label(last.command)}: ${typeof said === "function" ? said(plain(last.reason ?? "")) : said}`;
  // A command of one's own is among the waiting ones too. Until its id is known, it is known by its name.
  const others = task?.pending_commands.filter(({ command_id, command }) => (last?.state === "asking" ? command !== last.command : command_id !== last?.id)) ?? [];
  const waiting = others.map((each) => `${label(each.command)}: ${labels.commandStates[each.accepted ? "accepted" : "asked"]}`);
  if (names.length === 0 && !last) return null;
  return (
    <div className="td-commands">
      <div className="td-buttons" role="group" aria-label={labels.ask} onKeyDown={pressed}>
        {names.map((name) => (
          <button key={name} type="button" className="td-button" data-command={name} disabled={away} onClick={(event) => ask(name, event)} onBlur={() => setSure(null)}>
            {sure?.name === name ? labels.sure(label(name)) : label(name)}
          </button>
        ))}
      </div>
      <p className="td-outcome" role="status">
        {mine && <span data-tone={TONES[last.state]}>{mine}</span>}
        {mine && waiting.length > 0 && " · "}
        {waiting.join(" · ")}
      </p>
    </div>
  );
}
