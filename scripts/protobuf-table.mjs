// Makes assets/kubernetes-1.34/protobuf.json: for each message of Kubernetes' own kinds, its field numbers with JSON names and types, read
// off the struct tags of the Go modules k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver. Usage:
//   node scripts/protobuf-table.mjs API_DIR APIMACHINERY_DIR APIEXTENSIONS_DIR
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./prepare.mjs";

const [api, machinery, extensions] = process.argv.slice(2);
const packages = new Map();
for (const group of readdirSync(api).filter((name) => statSync(join(api, name)).isDirectory())) {
  for (const version of readdirSync(join(api, group)).filter((name) => /^v\d\w*$/.test(name))) {
    packages.set(`k8s.io/api/${group}/${version}`, { id: `${group}/${version}`, dir: join(api, group, version) });
  }
}
packages.set("k8s.io/apimachinery/pkg/apis/meta/v1", { id: "meta/v1", dir: join(machinery, "pkg/apis/meta/v1") });
packages.set("k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1", {
  id: "apiextensions/v1",
  dir: join(extensions, "pkg/apis/apiextensions/v1"),
});

/** Types whose JSON is not that of their fields. */
const special = {
  "meta/v1.Time": "time",
  "meta/v1.MicroTime": "microtime",
  "meta/v1.Duration": "duration",
  "meta/v1.FieldsV1": "raw",
  "apiextensions/v1.JSON": "raw",
  "apiextensions/v1.JSONSchemaPropsOrBool": "schemaOrBool",
  "apiextensions/v1.JSONSchemaPropsOrArray": "schemaOrList",
  "apiextensions/v1.JSONSchemaPropsOrStringArray": "schemaOrNames",
  "resource.Quantity": "quantity",
  "intstr.IntOrString": "intOrString",
  "runtime.RawExtension": "raw",
  "types.UID": "string",
};
const scalars = {
  string: "string",
  bool: "bool",
  int: "int",
  int32: "int",
  int64: "int",
  uint8: "int",
  uint32: "int",
  uint64: "int",
  float64: "double",
  byte: "byte",
  rune: "int",
};

const structs = new Map();
const aliases = new Map();
/** Messages that say something by being there. */
const empty = new Set();
for (const { id, dir } of packages.values()) {
  for (const file of readdirSync(dir).filter((name) => name.endsWith(".go") && !/zz_|generated|_test/.test(name))) {
    const text = readFileSync(join(dir, file), "utf8");
    const imports = new Map(
      [...text.matchAll(/^\s*(\w+)?\s*"(k8s\.io\/[^"]+)"$/gm)].map(([, alias, path]) => [
        alias ?? path.split("/").at(-1),
        path,
      ]),
    );
    const qualify = (expr) =>
      expr.replaceAll(/\b(?:(\w+)\.)?([A-Za-z]\w*)\b/g, (_whole, alias, name) => {
        if (alias === undefined) return name in scalars || name === "map" ? name : `${id}.${name}`;
        const path = imports.get(alias);
        const known = packages.get(path);
        return known === undefined ? `${path?.split("/").at(-1) ?? alias}.${name}` : `${known.id}.${name}`;
      });
    for (const [, name, body] of text.matchAll(/^type (\w+) struct \{\n([\s\S]*?)^\}/gm)) {
      const fields = [
        ...body.matchAll(/^\t(?:(\w+)\s+)?([*[\]\w.]+(?:\[\w.]+\])?[\w.\]*[]*)\s+`([^`]*protobuf:"[^`]*)`/gm),
      ].map(([, , type, tags]) => {
        const [wire, number, label] = (/protobuf:"([^"]*)"/.exec(tags)?.[1] ?? "").split(",");
        const json = /json:"([^"]*)"/.exec(tags)?.[1] ?? "";
        return {
          number,
          wire,
          label,
          json: json.split(",")[0],
          omitEmpty: json.includes("omitempty"),
          type: qualify(type),
        };
      });
      structs.set(`${id}.${name}`, fields);
    }
    for (const [, name] of text.matchAll(/^type (\w+) struct ?\{\}$/gm)) {
      structs.set(`${id}.${name}`, []);
      empty.add(`${id}.${name}`);
    }
    for (const [, name, expr] of text.matchAll(/^type (\w+) ((?:\[\]|map\[|[a-z])[^\n{]*)$/gm)) {
      if (!expr.startsWith("struct") && !expr.startsWith("interface") && !expr.startsWith("func"))
        aliases.set(`${id}.${name}`, qualify(expr.trim()));
    }
  }
}

/** `string`, `int`, …, `@message`, `[]…`, `{}…`; a named list that is a message of its own on the wire is `()…`. */
function typeOf(expr, isRepeated) {
  if (expr.startsWith("*")) return typeOf(expr.slice(1), isRepeated);
  if (expr === "[]byte") return "bytes";
  if (expr.startsWith("[]")) return `[]${typeOf(expr.slice(2), false)}`;
  const map = /^map\[[^\]]+\](.*)$/.exec(expr);
  if (map !== null) return `{}${typeOf(map[1], false)}`;
  if (expr in scalars) return scalars[expr];
  if (expr in special) return special[expr];
  if (structs.has(expr)) return `@${expr}`;
  const alias = aliases.get(expr);
  if (alias === undefined) throw new Error(`unknown type ${expr}`);
  const inner = typeOf(alias, isRepeated);
  return inner.startsWith("[]") && !isRepeated ? `()${inner.slice(2)}` : inner;
}

const table = {};
for (const [name, fields] of [...structs].sort(([left], [right]) => (left < right ? -1 : 1))) {
  if ((fields.length === 0 && !empty.has(name)) || name in special) continue;
  const entry = {};
  for (const field of fields) {
    let type;
    try {
      type = typeOf(field.type, field.label === "rep");
    } catch {
      continue; // Internal and list types of other packages: never in a request.
    }
    // "?" marks fields whose zero value JSON leaves out.
    entry[field.number] = [field.json, `${type}${field.omitEmpty && !field.type.startsWith("*") ? "?" : ""}`];
  }
  table[name] = entry;
}
writeFileSync(join(root, "assets/kubernetes-1.34/protobuf.json"), `${JSON.stringify(table)}\n`);
process.stdout.write(`${Object.keys(table).length} messages\n`);
