import { defineConfig } from "vitest/config";

/** The real server and a real browser; one file after the other, for they share two cores. */
export default defineConfig({
  test: {
    include: ["e2e/**/*.test.ts"],
    environment: "node",
    fileParallelism: false,
    testTimeout: 180_000,
    hookTimeout: 120_000,
  },
});
