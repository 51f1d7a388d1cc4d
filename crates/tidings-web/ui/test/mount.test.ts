import { expect, test } from "vitest";
import { mountOf } from "../src/dashboard/mount.js";

test("a page finds out where its server is mounted", () => {
  expect(mountOf("http://host/assets/dashboard-CuoBQCeN.js")).toBe("");
  expect(mountOf("https://host:8443/deep/tidings/assets/dashboard-CuoBQCeN.js")).toBe("/deep/tidings");
  expect(mountOf("file:///src/dashboard/mount.ts")).toBe("");
});
