import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.{ts,tsx}"],
    restoreMocks: true,
    // A busy machine may need long for what takes a moment.
    testTimeout: 120_000,
  },
});
