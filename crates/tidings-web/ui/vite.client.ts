import { defineConfig } from "vite";

/** `/tidings.js`: the client, for pages without a build step. Its fallback is loaded only if it is needed. */
export default defineConfig({
  publicDir: false,
  build: {
    target: "es2023",
    outDir: "dist",
    emptyOutDir: false,
    lib: { entry: "src/plain.ts", formats: ["es"], fileName: () => "tidings.js" },
    // Libraries keep their white space by default, but this one is not built further.
    rolldownOptions: { output: { minify: true, chunkFileNames: "assets/[name]-[hash].js" } },
  },
});
