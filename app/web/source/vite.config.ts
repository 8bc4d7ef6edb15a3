import { defineConfig } from "vite";

// Fixed names and one file of each kind: the service revalidates them by ETag, and the page needs
// three requests.
export default defineConfig({
  base: "./",
  build: {
    outDir: process.env.PAGE_OUT ?? "../static",
    emptyOutDir: true,
    modulePreload: false,
    cssCodeSplit: false,
    rolldownOptions: {
      output: {
        entryFileNames: "app.js",
        assetFileNames: "app.[ext]",
        codeSplitting: false,
      },
    },
  },
});
