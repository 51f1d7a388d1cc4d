import { defineConfig } from "vite";

/** The npm package: the client, and the React parts without React itself. */
export default defineConfig({
  publicDir: false,
  build: {
    target: "es2023",
    outDir: "lib",
    emptyOutDir: true,
    minify: false,
    cssCodeSplit: true,
    lib: {
      entry: { index: "src/index.ts", react: "src/react/index.ts", panel: "src/react/panel.css" },
      formats: ["es"],
    },
    rolldownOptions: { external: [/^react($|\/)/, /^react-dom($|\/)/] },
  },
});
