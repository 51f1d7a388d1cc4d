import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** The dashboard: what the server shows at `/` and `/tasks/{task_id}`. */
export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2023",
    outDir: "dist",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    // One file of each kind under names that stay: they are embedded by name,
    // and asked for again by ETag.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/dashboard.js",
        assetFileNames: "assets/dashboard[extname]",
        codeSplitting: false,
      },
    },
  },
});
