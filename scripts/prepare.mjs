// Brings a clone to the point where it can run: dependencies as locked, TypeScript compiled. Does nothing that is already done.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The clone's folder. */
export const root = fileURLToPath(new URL("..", import.meta.url));

/** Runs a program with its output on ours (stdout goes to stderr); ends the process with its code when it fails. */
export function run(title, command, args) {
  const started = performance.now();
  process.stderr.write(`… ${title}\n`);
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.status !== 0) {
    process.stderr.write(
      `✖ ${title} failed: ${result.error?.message ?? `\`${command} ${args.join(" ")}\` ended with ${result.status ?? result.signal}`}\n`,
    );
    process.exit(result.status || 1);
  }
  process.stderr.write(`✔ ${title} (${((performance.now() - started) / 1000).toFixed(1)} s)\n`);
}

/** Installs when node_modules does not match package-lock.json, compiles when a source is newer than the last build. */
export function prepare() {
  requireNode();
  if (!isInstalled()) {
    run("install dependencies (npm ci)", "npm", ["ci"]);
  }
  const built = join(root, "dist", ".built");
  const newest = Math.max(
    ...["src", "examples", "tests", "bench", "tsconfig.json", "scripts/programs.mjs"].map((path) =>
      newestChange(join(root, path)),
    ),
  );
  if (!existsSync(built) || statSync(built).mtimeMs < newest) {
    run("build", process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-b"]);
    run("programs that pods wait for", process.execPath, [join(root, "scripts", "programs.mjs")]);
    mkdirSync(join(root, "dist"), { recursive: true });
    writeFileSync(built, "");
  }
}

/** npm leaves a copy of what it installed, newer than the lock file that it came from. */
function isInstalled() {
  const installed = join(root, "node_modules", ".package-lock.json");
  return existsSync(installed) && statSync(installed).mtimeMs >= statSync(join(root, "package-lock.json")).mtimeMs;
}

function requireNode() {
  const wanted = [20, 19];
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < wanted[0] || (major === wanted[0] && minor < wanted[1])) {
    process.stderr.write(`Argosy needs Node.js ${wanted.join(".")} or newer; this is ${process.versions.node}\n`);
    process.exit(1);
  }
}

function newestChange(path) {
  if (!existsSync(path)) {
    return 0;
  }
  const stat = statSync(path);
  if (!stat.isDirectory()) {
    return stat.mtimeMs;
  }
  return Math.max(0, ...readdirSync(path).map((name) => newestChange(join(path, name))));
}
