import { expect, test } from "vitest";
import type { TaskGap } from "../src/options.js";
import { Checker } from "./support/checker.js";
import { snapshot } from "./support/scripted.js";

const gap = (from: number, to: number, reason: TaskGap["reason"]): TaskGap => ({ from, to, reason, snapshot: snapshot("t", to) });

test("what is contiguous passes", () => {
  const checker = Checker.from(3);
  checker.event(3);
  checker.gap(gap(4, 9, "overrun"));
  checker.event(10);
  checker.reset({ reason: "epoch_changed", epoch: "e2", offset: 0, snapshot: snapshot("t", 0, "e2") });
  checker.event(1);
  checker.reset({ reason: "ahead", epoch: "e2", offset: 7, snapshot: snapshot("t", 7, "e2") });
  checker.event(8);
  expect(checker.delivered).toBe(4);
});

test("what was lost, came twice or overlaps is found", () => {
  expect(() => Checker.from(3).event(5)).toThrow("lost");
  expect(() => Checker.from(3).event(2)).toThrow("twice");
  expect(() => Checker.unjoined().event(1)).toThrow("before the subscription");
  expect(() => Checker.from(3).gap(gap(2, 4, "expired"))).toThrow("came where 3 was due");
  expect(() => Checker.from(3).gap(gap(4, 5, "expired"))).toThrow("came where 3 was due");
  expect(() => Checker.from(3).gap(gap(3, 2, "expired"))).toThrow();
  const early = { reason: "removed", epoch: "e2", offset: 4, snapshot: snapshot("t", 3, "e2") } as const;
  expect(() => Checker.from(3).reset(early)).toThrow("came with the state at 3");
  const bare: TaskGap = { from: 3, to: 4, reason: "expired" };
  expect(() => Checker.from(3).gap(bare)).toThrow("without a snapshot");
});

test("history may begin anywhere up to the head, once", () => {
  const checker = Checker.withHistory(10);
  expect(() => checker.event(12)).toThrow("after the head");
  checker.event(7);
  expect(() => checker.event(9)).toThrow("lost");
});
