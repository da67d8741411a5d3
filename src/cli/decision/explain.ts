import type { Command } from "commander";
import type { ApiClient } from "../../kernel/client/types.js";
import { ApiError, InputError, isNotFound } from "../../kernel/errors/index.js";
import type { KubeObject } from "../../kernel/kinds/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObject, asObjects, asString, toJsonObject } from "../../kernel/schema/index.js";
import { bindingNameOf, ClusterResourceBindingKind, ResourceBindingKind } from "../../modules/fleet/index.js";
import { type CliContext, commandWithExamples, withConnection } from "../context.js";
import { parseJsonObject } from "../manifest/json.js";
import { type OutputFormat, parseOutputFormat, renderDocument } from "../output/print.js";
import type { Terminal } from "../output/terminal.js";
import { discover, resolveResources, type ServedResource } from "../resource/discovery.js";
import { resourcePath } from "../resource/path.js";
import { type ConnectionOptions, connect } from "../session.js";
import { lazinessOf } from "./lazy.js";
import { northboundClient } from "./northbound.js";
import { STANDING_KINDS, standingOf } from "./standing.js";
import { type Subject, sayThem, subjectOf, subjectsOf } from "./subject.js";

interface Connections {
  readonly client: ApiClient;
  readonly ask: (path: string) => Promise<unknown>;
  readonly namespace: string;
}

interface ExplainOptions extends ConnectionOptions {
  readonly namespace?: string;
  readonly cluster?: string;
  readonly topic?: string;
  readonly limit: string;
  readonly output: OutputFormat;
}

/** `argosy explain TYPE/NAME`: the decisions about an object (of a binding or a Work: about what it carries), newest first, with inputs, rule, winners and losers. */
export function explainCommand({ terminal }: CliContext): Command {
  return withConnection(
    commandWithExamples("explain", "Say why the system decided as it did: placement, weights, readiness.", [
      "argosy explain hmls/digits -n digits",
      "argosy explain rb/web-deployment -n demo",
      "argosy explain headingress/digits -n digits --topic weight",
      "argosy explain pod/web-0 --cluster cloud -o json",
    ]),
  )
    .argument("<object>", "TYPE/NAME")
    .option("-n, --namespace <name>", "namespace (default: the context's)")
    .option("--cluster <name>", "only decisions about the object in this cluster")
    .option("--topic <topic>", "only decisions on this: placement, weight, readiness, …")
    .option("--limit <n>", "how many, newest first, up to 1000", parseLimit, "10")
    .option("-o, --output <format>", "table | json | yaml", parseOutputFormat, "table")
    .action((object: string, options: ExplainOptions) => explain(object, options, terminal));
}

function parseLimit(text: string): string {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw new InputError(`--limit ${JSON.stringify(text)} is no whole number between 1 and 1000`);
  }
  return text;
}

async function explain(target: string, options: ExplainOptions, terminal: Terminal): Promise<void> {
  const [type = "", name = ""] = target.split("/");
  if (name === "") {
    throw new InputError(`${JSON.stringify(target)} is not of the form TYPE/NAME`);
  }
  const session = await connect(options);
  const context = options.context ?? options.cluster;
  const { client } = context === undefined ? session : await connect({ ...options, context });
  const northbound = await northboundClient(options);
  await explainWith({ client, ask: (path) => northbound.get(path), namespace: session.namespace }, [type, name], {
    options,
    terminal,
  });
}

/** `explain` with its connections made: `ask` reads from the northbound server. */
export async function explainWith(
  { client, ask, namespace: usual }: Connections,
  [type, name]: readonly [string, string],
  {
    options,
    terminal,
  }: { readonly options: Omit<ExplainOptions, keyof ConnectionOptions>; readonly terminal: Terminal },
): Promise<void> {
  const namespace = options.namespace ?? usual;
  const [resource] = resolveResources(type, await discover(client));
  const subjects = resource === undefined ? [{ name }] : await subjectsOf(client, resource, { namespace, name });
  const decisions = await decisionsAbout(subjects, { ask, options });
  const standing = await standingIn(client, resource, { namespace, name });
  if (options.output === "json" || options.output === "yaml") {
    terminal.out(renderDocument({ decisions, ...(standing === undefined ? {} : { standing }) }, options.output));
    return;
  }
  if (standing !== undefined) terminal.out(`${type}/${name} now:\n${standing.map((line) => `  ${line}\n`).join("")}\n`);
  const isItself = resource === undefined || subjects.some(({ kind }) => kind === resource.kind);
  const about = isItself ? `${type}/${name}` : `${type}/${name} (${sayThem(subjects)})`;
  if (decisions.length === 0) {
    // An object that is not there is a better answer.
    if (resource !== undefined && isItself && standing === undefined)
      await client.json("GET", resourcePath(resource, namespace, name));
    terminal.err(`no decisions about ${about} are in the ledger\n`);
    return;
  }
  if (!isItself) terminal.out(`about ${sayThem(subjects)}:\n\n`);
  terminal.out(decisions.map((decision) => renderDecision(decision, subjects.length > 1)).join("\n"));
}

/** The newest about any of these. */
async function decisionsAbout(
  subjects: readonly Subject[],
  { ask, options }: Pick<Connections, "ask"> & { readonly options: Omit<ExplainOptions, keyof ConnectionOptions> },
): Promise<JsonObject[]> {
  const found: JsonObject[] = [];
  for (const subject of subjects) {
    const query = new URLSearchParams({ limit: options.limit, ...subject });
    if (options.cluster !== undefined) query.set("cluster", options.cluster);
    if (options.topic !== undefined) query.set("topic", options.topic);
    const answer = parseJsonObject(await ask(`/argosy/v1/decisions?${query.toString()}`)) ?? {};
    found.push(...asObjects(answer["decisions"]));
  }
  return subjects.length === 1 ? found : newestOf(found, Number(options.limit));
}

/** How an object stands, or the binding that carries it to clusters; undefined where nobody tells, or it is not there any more. */
async function standingIn(
  client: ApiClient,
  resource: ServedResource | undefined,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): Promise<string[] | undefined> {
  if (resource === undefined) return undefined;
  try {
    if (STANDING_KINDS.has(resource.kind))
      return standingOf(parseJsonObject(await client.json("GET", resourcePath(resource, namespace, name))) ?? {});
    const kind = resource.namespaced ? ResourceBindingKind : ClusterResourceBindingKind;
    const inSpace = resource.namespaced ? { namespace } : {};
    const binding = await client.resource<KubeObject>(kind).find(bindingNameOf(resource.kind, name), inSpace);
    const object = await client.json("GET", resourcePath(resource, namespace, name)).catch((error: unknown) => {
      // Of one that is gone the binding still tells.
      if (isNotFound(error)) return {};
      throw error;
    });
    const waits = await lazinessOf(client, parseJsonObject(object) ?? {}, binding);
    if (binding === undefined) return waits.length === 0 ? undefined : waits;
    return [...waits, ...standingOf(toJsonObject(binding))];
  } catch (error) {
    // Who may see an object need not see how it is carried.
    const isHidden = error instanceof ApiError && error.httpCode === 403 && !STANDING_KINDS.has(resource.kind);
    if (isNotFound(error) || isHidden) return undefined;
    throw error;
  }
}

function newestOf(decisions: readonly JsonObject[], limit: number): JsonObject[] {
  const timeOf = ({ time }: JsonObject): string => asString(time);
  return decisions.toSorted((a, b) => (timeOf(a) < timeOf(b) ? 1 : -1)).slice(0, limit);
}

function renderDecision(decision: JsonObject, isOneOfSeveral: boolean): string {
  const text = (field: string): string => {
    const value = decision[field];
    return typeof value === "string" ? value : "";
  };
  const side = (field: string, mark: string): string[] =>
    asObjects(decision[field]).map((candidate) => {
      const { name, reason, score } = candidate;
      return `  ${mark} ${typeof name === "string" ? name : ""}${typeof score === "number" ? ` (${score})` : ""}: ${typeof reason === "string" ? reason : ""}`;
    });
  return [
    `${text("time")}  ${text("cluster")}  ${text("topic")}: ${text("outcome")}`,
    ...(isOneOfSeveral ? [`  about: ${sayThem([subjectOf(asObject(decision["about"]))])}`] : []),
    `  rule: ${text("rule")}`,
    `  inputs: ${JSON.stringify(decision["inputs"] ?? {})}`,
    ...side("winners", "+"),
    ...side("losers", "-"),
    "",
  ].join("\n");
}
