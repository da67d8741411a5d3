// Makes assets/kubernetes-1.34/structs.json: how Go writes the fields of Kubernetes' own kinds (which zero values vanish, which are
// written, which as null) and how it names their types. From the struct tags of the Go modules, which `go mod download` fetches.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "./prepare.mjs";

const modules = join(root, "tests", "real", "stack");
const folderOf = (name) =>
  execFileSync("go", ["list", "-mod=mod", "-m", "-f", "{{.Dir}}", name], { cwd: modules, encoding: "utf8" }).trim();

const api = folderOf("k8s.io/api");
const metaFolder = join(folderOf("k8s.io/apimachinery"), "pkg", "apis", "meta", "v1");
const folders = [
  ...readdirSync(api, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) =>
      readdirSync(join(api, name))
        .filter((version) => /^v\d+$/.test(version))
        .map((version) => join(api, name, version)),
    ),
  metaFolder,
  join(folderOf("k8s.io/apiextensions-apiserver"), "pkg", "apis", "apiextensions", "v1"),
];
const scalars = new Set(["string", "bool", "int", "int16", "int32", "int64", "uint8", "byte", "float64"]);
/** @type {Map<string, { text: string, aliases: Map<string, string> }>} */
const packages = new Map(
  folders.map((folder) => {
    const files = readdirSync(folder).filter(
      (file) => /^(types.*|.*_types)\.go$/.test(file) && !file.endsWith("_test.go"),
    );
    const text = files.map((file) => readFileSync(join(folder, file), "utf8")).join("\n");
    const aliases = new Map([...text.matchAll(/^type (\w+) (\S+)/gm)].map(([, name, type]) => [name, type]));
    return [folder, { text, aliases }];
  }),
);
const coreFolder = join(api, "core", "v1");

/** The package and name of a type as written in a package. */
function locate(type, folder) {
  const [qualifier, name] = type.includes(".") ? type.split(".") : ["", type];
  if (qualifier === "") return [folder, name];
  if (packages.get(coreFolder)?.aliases.has(name) && /^(v1|corev1|core)$/.test(qualifier) && folder !== coreFolder)
    return [coreFolder, name];
  return [packages.get(metaFolder)?.aliases.has(name) ? metaFolder : "", name];
}

function kindOf(type, folder) {
  if (type.startsWith("*")) return "pointer";
  if (type.startsWith("[]") || type.startsWith("map[")) return "list";
  if (scalars.has(type) || /^types\.(UID|NodeName)$/.test(type)) return "scalar";
  const [where, name] = locate(type, folder);
  if (name === "Time" || name === "MicroTime") return "time";
  const target = packages.get(where)?.aliases.get(name);
  if (target === undefined || target === "struct" || target === "interface") return "struct";
  return kindOf(target, where);
}

/** `v1.Protocol` for a field of a named string type. */
function nameOf(type, folder) {
  const plain = type
    .replace(/^\*/, "")
    .replace(/^\[\]/, "")
    .replace(/^map\[[^\]]*\]/, "");
  if (scalars.has(plain) || /[[\]*]/.test(plain)) return undefined;
  if (/^types\.(UID|NodeName)$/.test(plain)) return plain;
  const [where, name] = locate(plain, folder);
  const target = packages.get(where)?.aliases.get(name);
  if (target === undefined || !scalars.has(target)) return undefined;
  return `${where.slice(where.lastIndexOf("/") + 1)}.${name}`;
}

const table = {};
for (const [folder, { text }] of packages) {
  const prefix = folder === metaFolder ? "meta.v1" : folder.split("/").slice(-2).join(".");
  for (const [, struct, body] of text.matchAll(/^type (\w+) struct \{\n(.*?)^\}/gms)) {
    const fields = { plain: [], zero: [], null: [], named: {} };
    for (const [, type, name, options] of body.matchAll(/^\s+\w+\s+(\S+)\s+`.*json:"([\w$-]+)([^"]*)"/gm)) {
      const kind = kindOf(type, folder);
      const omits = /omitempty|omitzero/.test(options);
      const vanishes = kind === "scalar" || kind === "list";
      if (omits && vanishes) fields.plain.push(name);
      else if (!omits && kind === "scalar") fields.zero.push(name);
      else if ((!omits && kind !== "struct") || (kind === "time" && !options.includes("omitzero")))
        fields.null.push(name);
      const named = nameOf(type, folder);
      if (named !== undefined) fields.named[name] = named;
    }
    const entry = {};
    for (const list of ["plain", "zero", "null"]) if (fields[list].length > 0) entry[list] = fields[list].join(" ");
    if (Object.keys(fields.named).length > 0) entry.named = fields.named;
    if (Object.keys(entry).length > 0) table[`${prefix}.${struct}`] = entry;
  }
}
const target = join(root, "assets", "kubernetes-1.34", "structs.json");
const lines = Object.entries(table)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`);
writeFileSync(target, `{\n${lines.join(",\n")}\n}\n`);
process.stdout.write(`${target} (from ${dirname(api)}): ${lines.length} structs\n`);
