/** Manifests of our own for every kind of models that users write: what is taken, what becomes of it, and where what is refused is wrong. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { expect, test } from "vitest";
import { packageRoot } from "../src/kernel/assets/index.js";
import { messageOf } from "../src/kernel/errors/index.js";
import { type Json, type JsonObject, NamespaceKind } from "../src/kernel/kinds/index.js";
import { asObject, asObjects, asString } from "../src/kernel/schema/index.js";
import { MLServiceKind, MLServiceRuntimeKind } from "../src/modules/serving/kinds.js";
import { KnativeServiceKind } from "../src/modules/serving/knative/kinds.js";
import { KSERVE_KINDS } from "../src/modules/serving/kserve/kinds.js";
import { SimpleMLServiceKind } from "../src/modules/serving/simple-kind.js";
import { startStage } from "../src/modules/serving/stage.fixture.js";

const folder = join(packageRoot(), "tests", "manifests");
const namespace = "models";
const KINDS = [...KSERVE_KINDS, MLServiceKind, MLServiceRuntimeKind, SimpleMLServiceKind, KnativeServiceKind];

/** `$key` stands for one of several words. */
function fill(value: Json, word: string): Json {
  if (typeof value === "string") return value === "$key" ? word : value;
  if (Array.isArray(value)) return value.map((each) => fill(each, word));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name === "$key" ? word : name, fill(each ?? null, word)]),
  );
}

/** Whether something is said at a path; of lists any entry counts. */
function says(value: Json | undefined, path: readonly string[]): boolean {
  const [name, ...rest] = path;
  if (name === undefined) return value !== undefined;
  if (Array.isArray(value)) return value.some((each) => says(each, path));
  return typeof value === "object" && value !== null && says(value[name], rest);
}

interface Case {
  readonly about: string;
  readonly object: JsonObject;
  readonly becomes: JsonObject;
  readonly refused: string;
}

/** The cases of a file for one of its kinds, each word of `each` by itself. */
function casesOf(file: JsonObject, kind: string): Case[] {
  return asObjects(file["cases"]).flatMap((written) => {
    const words = asObject(written["each"])["key"];
    return (Array.isArray(words) ? words.map(asString) : [""]).map((word): Case => {
      const one = asObject(fill(written, word));
      const body = file["root"] === true ? asObject(one["object"]) : { spec: asObject(one["spec"]) };
      const object = {
        ...{ apiVersion: asString(file["apiVersion"]), kind },
        ...{ metadata: { name: "a", ...asObject(one["metadata"]) }, ...body },
      };
      const [about, refused] = [asString(one["about"]), asString(one["refused"])];
      return { about: `${about} ${word}`.trim(), object, becomes: asObject(one["becomes"]), refused };
    });
  });
}

const files = readdirSync(folder).map((name) => {
  const content: Json = JSON.parse(JSON.stringify(load(readFileSync(join(folder, name), "utf8"))));
  return asObject(content);
});
const kinds = files.flatMap((file) =>
  [file["kind"], file["also"]].flatMap((kind) => (typeof kind === "string" ? [{ kind, file }] : [])),
);

test.each(kinds)(
  "of $kind: what is taken, what becomes of it, and where what is refused is wrong",
  async ({ kind, file }) => {
    const { client } = await startStage({ namespace, kinds: KINDS, isWanted: () => false });
    await client.resource(NamespaceKind).apply({ metadata: { name: namespace } }, { fieldManager: "user" });
    const known = KINDS.find((one) => one.kind === kind);
    const place = known?.namespaced === true ? `namespaces/${namespace}/` : "";
    const path = `/apis/${asString(file["apiVersion"])}/${place}${known?.plural ?? ""}?fieldValidation=Strict&dryRun=All`;
    const wrong: string[] = [];
    for (const { about, object, becomes, refused } of casesOf(file, kind)) {
      const outcome = await client.json("POST", path, object).then(
        (made) => ({ made: asObject(made), message: "" }),
        (error: unknown) => ({ made: undefined, message: messageOf(error) }),
      );
      if (refused === "" && outcome.made === undefined) wrong.push(`${about}: refused: ${outcome.message}`);
      else if (refused !== "" && !outcome.message.includes(refused))
        wrong.push(
          `${about}: not refused at ${refused}, but: ${outcome.made === undefined ? outcome.message : "taken"}`,
        );
      else if (outcome.made !== undefined) expect(asObject(outcome.made["spec"]), about).toMatchObject(becomes);
    }
    expect(wrong).toEqual([]);
  },
);

test("each field that users write is in a manifest that is taken, and each kind has some", () => {
  const missing = kinds.flatMap(({ kind, file }) => {
    const taken = casesOf(file, kind).filter(({ refused }) => refused === "");
    return asString(file["fields"])
      .split(/\s+/)
      .filter((field) => field !== "")
      .filter((field) => {
        const way = field.split(".");
        return !taken.some(({ object }) => says(file["root"] === true ? object : object["spec"], way));
      })
      .map((field) => `${kind} ${field}`);
  });
  expect(missing).toEqual([]);
  const written = new Set(kinds.map(({ kind }) => kind));
  // Written by controllers, not by users.
  const users = KINDS.map(({ kind }) => kind).filter((kind) => kind !== "LocalModelNode");
  expect(users.filter((kind) => !written.has(kind))).toEqual([]);
});
