// Brings a clone to the point where it can run: dependencies as locked, TypeScript compiled. Does nothing that is already done.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
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
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  const stamp = join(root, "node_modules", ".argosy-lock");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== lock) {
    run("install dependencies (npm ci)", "npm", ["ci"]);
    writeFileSync(stamp, lock);
  }
  const built = join(root, "dist", ".built");
  const newest = Math.max(
    ...["src", "examples", "tests", "bench", "tsconfig.json"].map((path) => newestChange(join(root, path))),
  );
  if (!existsSync(built) || statSync(built).mtimeMs < newest) {
    run("build", process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-b"]);
    mkdirSync(join(root, "dist"), { recursive: true });
    writeFileSync(built, "");
  }
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
