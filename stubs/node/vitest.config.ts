import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: {
    alias: {
      "@mlxforge/client/v1": fileURLToPath(new URL("src/v1.ts", import.meta.url)),
      "@mlxforge/client": fileURLToPath(new URL("src/index.ts", import.meta.url)),
    },
  },
  test: { include: ["tests/**/*.test.ts"], testTimeout: 20_000, hookTimeout: 120_000 },
});
