import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** For tests: the gateway as a program of its own. */
export interface GatewayProgram {
  /** The command that serves a directory. */
  readonly command: (directory: string) => readonly string[];
  readonly remove: () => void;
}

/** For tests: compiles it; a process is what a driver is about, and what can be killed. */
export function buildGateway(): GatewayProgram {
  const root = fileURLToPath(new URL("../..", import.meta.url));
  const built = mkdtempSync(join(tmpdir(), "argosy-gateway-build-"));
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      composite: false,
      incremental: false,
      tsBuildInfoFile: null,
      noEmit: false,
      declaration: false,
      sourceMap: false,
      outDir: join(built, "out"),
      rootDir: root,
      typeRoots: [join(root, "node_modules/@types")],
    },
    include: [],
    files: ["src/dataplane/gateway/gateway.ts", "src/kernel/clock/index.ts", "src/kernel/log/index.ts"].map((file) =>
      join(root, file),
    ),
  };
  writeFileSync(join(built, "tsconfig.json"), JSON.stringify(config));
  execFileSync(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", join(built, "tsconfig.json")], {
    stdio: "pipe",
  });
  mkdirSync(join(built, "out"), { recursive: true });
  writeFileSync(join(built, "out/package.json"), '{"type":"module"}');
  const program = join(built, "out/main.mjs");
  writeFileSync(
    program,
    `import { runGateway } from "./src/dataplane/gateway/gateway.js";
import { systemClock, systemRandom } from "./src/kernel/clock/index.js";
import { silentLogger } from "./src/kernel/log/index.js";
const gateway = await runGateway({ directory: process.argv[2], clock: systemClock, random: systemRandom, log: silentLogger });
process.on("SIGTERM", () => gateway.close(1000).then(() => process.exit(0)));
`,
  );
  return {
    command: (directory) => [process.execPath, program, directory],
    remove: () => rmSync(built, { recursive: true, force: true }),
  };
}
