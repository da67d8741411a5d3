/**
 * Manifests of others, as they are, against the kinds. They are no part of the repository: a folder named by ARGOSY_CORPUS, or `shared/corpus` beside the
 * checkout, holds them; without it this is skipped.
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadAll } from "js-yaml";
import { expect } from "vitest";
import { ApiError } from "../../../kernel/errors/index.js";
import { startTestCluster } from "../../../testing/index.js";
import { unless } from "../../../testing/unless.js";
import { completeInferenceService } from "./defaults.js";
import { inferenceGraphFaults } from "./graph-admission.js";
import { KSERVE_KINDS } from "./kinds.js";
import { inferenceServiceFaults } from "./validation.js";

const root = fileURLToPath(new URL("../../../..", import.meta.url));
const folder = join(
  process.env["ARGOSY_CORPUS"] ?? join(dirname(root.replace(/\/$/, "")), "shared", "corpus"),
  "kserve",
);
const withCorpus = unless(
  existsSync(join(folder, "verdicts.json"))
    ? undefined
    : `there are no manifests in ${folder} (ARGOSY_CORPUS names another folder)`,
);

interface Listed {
  readonly path: string;
  readonly doc: number;
  readonly apiVersion: string;
  readonly kind: string;
  readonly verdict: "ok" | "unknownFields" | "structural" | "unknownVersion";
}

function readDocuments(): (Listed & { readonly object: { metadata?: Record<string, unknown> } })[] {
  const listed: readonly Listed[] = JSON.parse(readFileSync(join(folder, "verdicts.json"), "utf8")).documents;
  return listed.map((entry) => {
    const documents = loadAll(readFileSync(join(folder, entry.path), "utf8"));
    return { ...entry, object: documents[entry.doc] as { metadata?: Record<string, unknown> } };
  });
}

const plural = (kind: string): string => KSERVE_KINDS.find((one) => one.kind === kind)?.plural ?? kind;
const isNamespaced = (kind: string): boolean => KSERVE_KINDS.find((one) => one.kind === kind)?.namespaced ?? true;

function verdictOf(error: unknown): string {
  if (!(error instanceof ApiError)) return String(error);
  if (error.httpCode === 404) return "unknownVersion";
  if (error.httpCode === 400 && /unknown field/.test(error.message)) return "unknownFields";
  if (error.httpCode === 422 || error.httpCode === 400) return "structural";
  return `${error.httpCode} ${error.message}`;
}

withCorpus("every manifest of the corpus is taken or refused as its verdict says", async () => {
  const cluster = await startTestCluster({ kinds: KSERVE_KINDS });
  const wrong: string[] = [];
  const documents = readDocuments();
  for (const { path, doc, apiVersion, kind, verdict, object } of documents) {
    const place = isNamespaced(kind) ? "namespaces/default/" : "";
    const { namespace: _, ...metadata } = object.metadata ?? {};
    const seen = await cluster.client
      .json(
        "POST",
        `/apis/${apiVersion}/${place}${plural(kind)}?fieldValidation=Strict&dryRun=All`,
        JSON.parse(JSON.stringify({ ...object, metadata })),
      )
      .then(
        () => ({ verdict: "ok", message: "" }),
        (error: unknown) => ({ verdict: verdictOf(error), message: String(error) }),
      );
    if (seen.verdict !== verdict)
      wrong.push(`${path}#${doc} ${kind}: ${verdict} expected, ${seen.verdict}: ${seen.message}`);
  }
  await cluster.close();
  expect(wrong).toEqual([]);
  expect(documents.length).toBeGreaterThan(0);
});

withCorpus("InferenceServices of the corpus that fit their shape have no contradiction either", () => {
  const services = readDocuments().filter(({ kind, verdict }) => kind === "InferenceService" && verdict === "ok");
  const faults = services.flatMap(({ path, object }) => {
    const completed = JSON.parse(JSON.stringify(object));
    completeInferenceService(completed);
    return inferenceServiceFaults(completed).map(({ field, message }) => `${path}: ${field}: ${message}`);
  });

  expect(faults).toEqual([]);
  expect(services.length).toBeGreaterThan(0);
});

withCorpus("InferenceGraphs of the corpus have no contradiction", () => {
  const graphs = readDocuments().filter(({ kind, verdict }) => kind === "InferenceGraph" && verdict === "ok");
  const faults = graphs.flatMap(({ path, object }) =>
    inferenceGraphFaults(JSON.parse(JSON.stringify(object))).map(
      ({ field, message }) => `${path}: ${field}: ${message}`,
    ),
  );

  expect(faults).toEqual([]);
  expect(graphs.length).toBeGreaterThan(0);
});
