import { defineConfig } from "vite";

/** `/tidings.js`: the client in one file, for pages without a build step. */
export default defineConfig({
  publicDir: false,
  build: {
    target: "es2023",
    outDir: "dist",
    emptyOutDir: false,
    lib: { entry: "src/index.ts", formats: ["es"], fileName: () => "tidings.js" },
    // Libraries keep their white space by default; this one is not built further.
    rolldownOptions: { output: { minify: true } },
  },
});
