// Room rules of ARCHITECTURE.md: imports go only downwards; modules never import each other; the data plane imports the kernel only; a room
// is entered by its door (index.ts, or types.ts for types). Fails when it looked at nothing.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { root } from "./prepare.mjs";

const floors = ["kernel", "stores", "cluster", "dataplane", "modules", "faces", "platform", "cli"];
const roomed = new Set(["kernel", "stores", "cluster", "dataplane", "modules", "faces"]);
const source = join(root, "src");

function files(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? files(path) : path.endsWith(".ts") ? [path] : [];
  });
}

/** Floor and room of a file, `["modules", "fleet"]`. */
function place(file) {
  const [floor, room] = relative(source, file).split(sep);
  return [floor, roomed.has(floor) ? room : ""];
}

function importsOf(file) {
  return [
    ...readFileSync(file, "utf8").matchAll(
      /(?:^|\n)\s*(?:import|export)\b[^;"']*?from\s+["'](\.[^"']+)["']|import\(\s*["'](\.[^"']+)["']\s*\)/g,
    ),
  ].map((match) => match[1] ?? match[2]);
}

const faults = [];
let looked = 0;
let edges = 0;
for (const file of files(source)) {
  looked += 1;
  const [floor, room] = place(file);
  const test = floor === "testing" || /(?:\.test|[./-]fixture)\.ts$/.test(file);
  for (const specifier of importsOf(file)) {
    const target = resolve(dirname(file), specifier.replace(/\.js$/, ".ts"));
    if (!target.startsWith(source + sep) || !existsSync(target)) {
      continue;
    }
    edges += 1;
    const [targetFloor, targetRoom] = place(target);
    const where = `${relative(root, file)} imports ${relative(root, target)}`;
    if (targetFloor === "testing") {
      if (!test) faults.push(`${where}: only tests use src/testing`);
      continue;
    }
    if (targetFloor === floor && targetRoom === room) {
      continue;
    }
    const door = relative(join(source, targetFloor, targetRoom), target);
    if (
      !["index.ts", "types.ts"].includes(door) &&
      !(targetFloor === "kernel" && targetRoom === "kinds" && ["object.ts", "define.ts", "native.ts"].includes(door))
    ) {
      faults.push(`${where}: enter the room ${targetFloor}/${targetRoom} by its door, index.ts`);
    }
    if (test) {
      continue;
    }
    if (floors.indexOf(targetFloor) > floors.indexOf(floor)) {
      faults.push(`${where}: imports go only downwards (${floors.toReversed().join(" > ")})`);
    }
    if (floor === "modules" && targetFloor === "modules") {
      faults.push(`${where}: modules meet only in the API`);
    }
    if (floor === "dataplane" && targetFloor !== "kernel") {
      faults.push(`${where}: the data plane imports the kernel only`);
    }
  }
}
for (const fault of faults) {
  process.stdout.write(`${fault}\n`);
}
process.stdout.write(`${looked} files, ${edges} imports between them, ${faults.length} faults\n`);
process.exit(faults.length > 0 || looked < 10 || edges < 10 ? 1 : 0);
