import { defineConfig } from "vite";

/** Entries that use React's hooks. A server component can only pass them on to the browser. */
const CLIENT_ENTRIES = ["react", "panel"];

/** The npm package: client, stores, hooks and panel, without their dependencies. */
export default defineConfig({
  publicDir: false,
  build: {
    target: "es2023",
    outDir: "lib",
    emptyOutDir: true,
    minify: false,
    cssCodeSplit: true,
    lib: {
      entry: { index: "src/index.ts", react: "src/react/index.ts", panel: "src/panel/index.ts", style: "src/panel/panel.css" },
      formats: ["es"],
    },
    rolldownOptions: {
      external: [/^react($|\/)/, /^react-dom($|\/)/],
      output: {
        chunkFileNames: "chunks/[name]-[hash].js",
        assetFileNames: "panel[extname]",
        banner: (chunk) => (chunk.isEntry && CLIENT_ENTRIES.includes(chunk.name) ? '"use client";\n' : ""),
      },
    },
  },
});
