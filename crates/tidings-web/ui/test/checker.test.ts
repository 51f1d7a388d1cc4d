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
  checker.gap(gap(1, 0, "epoch_changed"));
  checker.event(1);
  checker.gap(gap(8, 7, "ahead"));
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
  expect(() => Checker.from(3).gap(gap(2, 4, "epoch_changed"))).toThrow();
  const bare: TaskGap = { from: 3, to: 4, reason: "expired" };
  expect(() => Checker.from(3).gap(bare)).toThrow("without a snapshot");
});

test("history may begin anywhere up to the head, once", () => {
  const checker = Checker.withHistory(10);
  expect(() => checker.event(12)).toThrow("after the head");
  checker.event(7);
  expect(() => checker.event(9)).toThrow("lost");
});
