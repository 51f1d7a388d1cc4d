import { defineConfig } from "vitest/config";

/** Tests with the real server and a real browser. Files run one after the other, because they share two cores. */
export default defineConfig({
  test: {
    include: ["e2e/**/*.test.ts"],
    environment: "node",
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 120_000,
  },
});
