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
    // One file of each kind. The hash in its name changes with its content, so
    // that browsers keep it for good.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/dashboard-[hash].js",
        assetFileNames: "assets/dashboard-[hash][extname]",
        codeSplitting: false,
      },
    },
  },
});
