import { InputError } from "../../kernel/errors/index.js";
import type { KubeObject } from "../../kernel/kinds/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import { asObject, asObjects, asString } from "../../kernel/schema/index.js";
import { type FleetCopy, revisedObject, withReplicas, withTyped } from "../../modules/fleet/index.js";
import { parseJsonObject } from "../manifest/json.js";
import { loadManifests } from "../manifest/load.js";
import type { Terminal } from "../output/terminal.js";
import { dryRun } from "../resource/apply.js";
import { discover, resolveResources } from "../resource/discovery.js";
import { resourcePath } from "../resource/path.js";
import type { Session } from "../session.js";

const POLICIES = new Set(["PropagationPolicy", "ClusterPropagationPolicy"]);
/** Kinds of the fleet that say nothing of where objects go. */
const BESIDE = new Set(["OverridePolicy", "ClusterOverridePolicy", "FederatedResourceQuota", "Work"]);

/** The copy with an object of that many replicas. */
export async function scaled(
  copy: FleetCopy,
  session: Session,
  wanted: { readonly object: string; readonly count: number; readonly namespace: string | undefined },
): Promise<FleetCopy> {
  const [type = "", name = "", ...rest] = wanted.object.split("/");
  if (name === "" || rest.length > 0)
    throw new InputError(`${JSON.stringify(wanted.object)} is not of the form TYPE/NAME`);
  const [resource] = resolveResources(type, await discover(session.client));
  if (resource === undefined) throw new InputError(`${JSON.stringify(type)} names no type`);
  const path = resourcePath(resource, wanted.namespace ?? session.namespace, name);
  const found = parseJsonObject(await session.client.json("GET", path)) ?? {};
  return withReplicas(copy, revisedObject(found), wanted.count);
}

/** The copy with the objects of files, as the server completes and checks them. Throws its refusals. */
export async function applied(
  copy: FleetCopy,
  session: Session,
  { files, namespace, terminal }: { files: readonly string[]; namespace: string | undefined; terminal: Terminal },
): Promise<FleetCopy> {
  const manifest = await loadManifests(files, () => terminal.readStdin());
  for (const warning of manifest.warnings) terminal.err(`warning: ${warning}\n`);
  let next = copy;
  const policies: JsonObject[] = [];
  const templates: JsonObject[] = [];
  for (const object of manifest.objects) {
    if (BESIDE.has(object.kind)) {
      terminal.err(`${object.kind} ${object.name} says nothing of where objects go: left out\n`);
      continue;
    }
    const { before, after } = await dryRun(session, object, namespace);
    const typed = withTyped(next, after);
    if (typed === undefined) templates.push(after);
    else next = typed;
    if (POLICIES.has(object.kind)) policies.push(after, ...(before === undefined ? [] : [before]));
  }
  const meant = await meantBy(policies, session);
  const known = new Map([...meant, ...templates.map(revisedObject)].map((object) => [idOf(object), object]));
  return { ...next, templates: [...next.templates, ...known.values()] };
}

/** The objects that policies select, before and after. */
async function meantBy(policies: readonly JsonObject[], session: Session): Promise<KubeObject[]> {
  const found: KubeObject[] = [];
  if (policies.length === 0) return found;
  const served = await discover(session.client);
  const listed = new Set<string>();
  for (const policy of policies) {
    const space = asString(asObject(policy["metadata"])["namespace"]);
    for (const selector of asObjects(asObject(policy["spec"])["resourceSelectors"])) {
      const apiVersion = asString(selector["apiVersion"]);
      const kind = asString(selector["kind"]);
      const resource = served.find(
        ({ group, version, kind: each }) =>
          each === kind && `${group === "" ? "" : `${group}/`}${version}` === apiVersion,
      );
      if (resource === undefined) continue;
      const namespace = space === "" ? asString(selector["namespace"]) : space;
      const path = resourcePath(resource, namespace === "" ? undefined : namespace);
      if (listed.has(path)) continue;
      listed.add(path);
      const list = parseJsonObject(await session.client.json("GET", path));
      found.push(...asObjects(list?.["items"]).map((item) => revisedObject({ ...item, apiVersion, kind })));
    }
  }
  return found;
}

function idOf({ apiVersion, kind, metadata: { namespace = "", name } }: KubeObject): string {
  return `${apiVersion} ${kind} ${namespace}/${name}`;
}
