// The README's first lines, from an empty folder with the packed package.
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { beforeAll, describe, expect, test } from "vitest";
import { library, mlxforge, real } from "./servers.js";

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "mlxforge-package-"));
const blocks = [...readFileSync("README.md", "utf8").matchAll(/```ts\n(.*?)```/gs)].map(
  ([, code]) => code as string,
);
const [start = "", embedLine = ""] = blocks;

/** Compiles and runs TypeScript in the folder, as a user would. */
async function output(code: string, environment: Record<string, string> = {}): Promise<string> {
  writeFileSync(join(folder, "start.ts"), code);
  const tsc = resolve("node_modules/typescript/bin/tsc");
  const types = ["--types", "node", "--typeRoots", resolve("node_modules/@types")];
  const options = ["--strict", "--module", "nodenext", "--target", "es2022", "--skipLibCheck"];
  await run("node", [tsc, ...options, ...types, "start.ts"], { cwd: folder });
  const env = { ...process.env, ...environment };
  return (await run("node", ["start.js"], { cwd: folder, env })).stdout;
}

describe.skipIf(!mlxforge || !library)("the packed package", () => {
  beforeAll(async () => {
    const { stdout } = await run("npm", ["pack", "--silent", "--pack-destination", folder]);
    const tarball = stdout.trim().split("\n").at(-1) as string;
    writeFileSync(join(folder, "package.json"), '{"type": "module", "private": true}');
    await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", tarball], {
      cwd: folder,
    });
  }, 180_000);

  test("streams an answer from a running server", async () => {
    await using server = await real();
    expect(start).toContain('"127.0.0.1:50051"');
    const code = start.replace("127.0.0.1:50051", server.address);
    expect(await output(code)).toContain("Paris");
  }, 120_000);

  test("and, with one line changed, in its own process", async () => {
    const code = start.replace(/^const forge = .*$/m, embedLine.trim());
    expect(code).not.toContain("connect");
    const answer = await output(code, { MLXFORGE_LIBRARY: library as string });
    expect(answer).toContain("Paris");
  }, 120_000);
});
