import { fieldFaults } from "../../kernel/client/index.js";
import type { ApiClient } from "../../kernel/client/types.js";
import { ApiError, InputError } from "../../kernel/errors/index.js";
import { apiVersionOf, type JsonObject, parseApiVersion } from "../../kernel/kinds/object.js";
import { didYouMean } from "../../kernel/schema/index.js";
import { parseJsonObject } from "../manifest/json.js";
import { loadManifests, type ManifestObject } from "../manifest/load.js";
import type { Terminal } from "../output/terminal.js";
import type { Session } from "../session.js";
import { discover, type ServedResource } from "./discovery.js";
import { resourceName, resourcePath } from "./path.js";
import { suggestField } from "./suggestion.js";

export interface ApplyOptions {
  readonly files: readonly string[];
  readonly namespace?: string;
  readonly dryRun?: boolean;
  readonly force?: boolean;
}

/** A manifest object with the resource that it is applied to. */
export interface Resolved {
  readonly manifest: ManifestObject;
  readonly resource: ServedResource;
  readonly path: string;
}

/** `argosy apply`: server-side apply of every object, in file order; stops at the first refusal. */
export async function applyManifests(session: Session, options: ApplyOptions, terminal: Terminal): Promise<void> {
  const manifest = await loadManifests(options.files, () => terminal.readStdin());
  for (const warning of manifest.warnings) {
    terminal.err(`warning: ${warning}\n`);
  }
  for (const object of manifest.objects) {
    terminal.out(`${await applyObject(session, object, options)}\n`);
  }
}

async function applyObject(session: Session, object: ManifestObject, options: ApplyOptions): Promise<string> {
  const { resource, before, after } = await send(session, object, options);
  const what = before === undefined ? "created" : versionOf(before) === versionOf(after) ? "unchanged" : "configured";
  return `${resourceName(resource, object.name)} ${what}${options.dryRun === true ? " (dry run)" : ""}`;
}

/** What the server would make of an object. */
export interface DryRun {
  /** As it stands; undefined when it does not. */
  readonly before: JsonObject | undefined;
  /** Checked and completed. */
  readonly after: JsonObject;
}

/** Applies an object without changing anything, whoever else has fields of it. Throws the server's refusal, with file and line. */
export async function dryRun(session: Session, object: ManifestObject, namespace: string | undefined): Promise<DryRun> {
  const place = namespace === undefined ? {} : { namespace };
  const { before, after } = await send(session, object, { ...place, dryRun: true, force: true });
  return { before: parseJsonObject(before), after: parseJsonObject(after) ?? {} };
}

async function send(session: Session, object: ManifestObject, options: Omit<ApplyOptions, "files">) {
  const { resource, path } = resolveManifest(
    object,
    await discover(session.client),
    options.namespace ?? session.namespace,
  );
  const before = await session.client.json("GET", path).catch(absent);
  const query = new URLSearchParams({
    fieldManager: "argosy",
    fieldValidation: "Strict",
    force: String(options.force === true),
  });
  if (options.dryRun === true) {
    query.set("dryRun", "All");
  }
  const body = { ...object.object, metadata: { ...parseJsonObject(object.object["metadata"]) } };
  try {
    const after = await session.client.json("PATCH", `${path}?${query.toString()}`, body, {
      headers: { "content-type": "application/apply-patch+yaml" },
    });
    return { resource, before, after };
  } catch (error) {
    throw await located(error, object, session.client);
  }
}

/** Finds what a manifest object's apiVersion and kind are in this cluster; throws `InputError` with the line and a suggestion. */
export function resolveManifest(
  manifest: ManifestObject,
  served: readonly ServedResource[],
  namespace: string,
): Resolved {
  const { group, version } = parseApiVersion(manifest.apiVersion);
  const resource = served.find((candidate) => candidate.group === group && candidate.kind === manifest.kind);
  if (resource === undefined) {
    const kinds = served.map((candidate) => candidate.kind);
    const elsewhere = served
      .filter((candidate) => candidate.kind === manifest.kind)
      .map((candidate) => apiVersionOf(candidate));
    const near = didYouMean(manifest.kind, kinds);
    const hint =
      elsewhere.length > 0
        ? `; ${manifest.kind} is served as ${elsewhere.join(", ")}`
        : near === undefined
          ? ""
          : `; did you mean ${near}?`;
    throw new InputError(
      `${manifest.locate("kind")}: this cluster has no kind ${manifest.kind} in ${manifest.apiVersion}${hint}`,
    );
  }
  return {
    manifest,
    resource: { ...resource, version },
    path: resourcePath({ ...resource, version }, manifest.namespace ?? namespace, manifest.name),
  };
}

/** Puts file and line of each faulty field before the server's words; unknown fields get a suggestion. */
export async function located(error: unknown, manifest: ManifestObject, client: ApiClient): Promise<unknown> {
  if (!(error instanceof ApiError)) {
    return error;
  }
  const { group, version } = parseApiVersion(manifest.apiVersion);
  const lines: string[] = [];
  for (const { field, fault, reason } of fieldFaults(error)) {
    const text =
      fault === undefined
        ? `unknown field "${field}"${await suggestField(client, { group, version, kind: manifest.kind }, field)}`
        : `${field}: ${fault}${reason === "FieldManagerConflict" ? "; --force takes the field over" : ""}`;
    lines.push(`${manifest.locate(field)}: ${text}`);
  }
  const message = lines.length > 0 ? lines.join("\n") : `${manifest.locate("")}: ${error.message}`;
  return new ApiError({ ...error.status, message }, { cause: error });
}

function absent(error: unknown): undefined {
  if (error instanceof ApiError && error.httpCode === 404) {
    return undefined;
  }
  throw error;
}

function versionOf(object: unknown): unknown {
  const metadata = parseJsonObject(parseJsonObject(object)?.["metadata"]);
  return metadata?.["resourceVersion"];
}
