import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

/** The dashboard, which the server shows at `/` and `/tasks/{task_id}`. */
export default defineConfig({
  plugins: [react()],
  // The files find one another wherever the server is mounted.
  base: "./",
  build: {
    target: "es2023",
    outDir: "dist",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    // The hash in a name changes with the content, so browsers may keep the file forever. Markdown
    // and colours are loaded only if they are needed.
    assetsInlineLimit: 0,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/dashboard-[hash].js",
        assetFileNames: "assets/dashboard-[hash][extname]",
        chunkFileNames: "assets/[name]-[hash].js",
      },
    },
  },
});
