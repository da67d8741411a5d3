import type { ApiClient } from "../kernel/client/types.js";
import type { Clock } from "../kernel/clock/index.js";
import { ApiError, ArgosyError, InputError } from "../kernel/errors/index.js";
import {
  apiVersionOf,
  type CustomResourceDefinition,
  CustomResourceDefinitionKind,
  type KindDefinition,
  NamespaceKind,
  toCrd,
} from "../kernel/kinds/index.js";
import type { Json, JsonObject } from "../kernel/kinds/object.js";
import { asObject, equalJson } from "../kernel/schema/index.js";

/** Field manager of what the platform itself sets up. */
export const fieldManager = "argosy-platform";

const servedTimeoutMs = 30_000;
const pollMs = 100;

/**
 * Installs kinds as CRDs and waits until the cluster serves them; does nothing where they are as wanted. A kind that the cluster serves and
 * that Argosy did not install belongs to somebody else (a Karmada that runs there): it stays as it is.
 */
export async function installKinds(
  client: ApiClient,
  definitions: readonly KindDefinition[],
  clock: Clock,
): Promise<void> {
  const crds = client.resource(CustomResourceDefinitionKind);
  const written = await Promise.all(definitions.map((definition) => installKind(client, definition)));
  const end = clock.monotonicMs() + servedTimeoutMs;
  for (const definition of definitions.filter((_, index) => written[index] === true)) {
    while (!isEstablished(await crds.get(crdName(definition)))) {
      if (clock.monotonicMs() > end) {
        throw new ArgosyError(
          "KindNotServed",
          `${crdName(definition)} is installed, but the cluster does not serve it after ${servedTimeoutMs / 1000} s: see the conditions of the CustomResourceDefinition`,
        );
      }
      await clock.sleep(pollMs);
    }
  }
}

/** Whether it had to be written, and may not be served yet. */
async function installKind(client: ApiClient, definition: KindDefinition): Promise<boolean> {
  const crds = client.resource(CustomResourceDefinitionKind);
  const name = crdName(definition);
  const present = await crds.find(name);
  if (present === undefined ? await isServed(client, definition) : !isOurs(present)) {
    await requireKinds(client, [definition]);
    return false;
  }
  const { spec } = toCrd(definition);
  if (present !== undefined && isEstablished(present) && equalJson(present.spec, asStored(spec))) return false;
  await crds.apply({ metadata: { name }, spec }, { fieldManager, force: true });
  return true;
}

/** With what the server fills in. */
function asStored(spec: Json | undefined): JsonObject {
  return { conversion: { strategy: "None" }, ...asObject(spec) };
}

/** Refuses a cluster that does not serve these kinds, naming all that are missing. */
export async function requireKinds(client: ApiClient, definitions: readonly KindDefinition[]): Promise<void> {
  const missing: string[] = [];
  for (const definition of definitions) {
    if (!(await isServed(client, definition))) {
      missing.push(`${definition.kind} (${apiVersionOf(definition)})`);
    }
  }
  if (missing.length > 0) {
    throw new InputError(
      `the cluster does not serve ${missing.join(", ")}: install the definitions (\`argosy agent crds --level … | kubectl apply --server-side -f -\`), or leave out --install-crds=false`,
    );
  }
}

/** Makes a namespace unless it is there. Throws `InputError` when it is missing and may not be made. */
export async function ensureNamespace(client: ApiClient, name: string): Promise<void> {
  const namespaces = client.resource(NamespaceKind);
  if ((await namespaces.find(name)) !== undefined) {
    return;
  }
  try {
    await namespaces.apply({ metadata: { name } }, { fieldManager, force: true });
  } catch (error) {
    if (error instanceof ApiError && error.httpCode === 403) {
      throw new InputError(
        `there is no namespace ${name} and this identity may not make it: \`kubectl create namespace ${name}\`, or apply what \`argosy agent rbac\` prints`,
        { cause: error },
      );
    }
    throw error;
  }
}

/** Name of the CustomResourceDefinition of a kind. */
export function crdName({ plural, group }: Pick<KindDefinition, "plural" | "group">): string {
  return `${plural}.${group}`;
}

async function isServed(client: ApiClient, definition: KindDefinition): Promise<boolean> {
  return (await client.findKind(apiVersionOf(definition), definition.kind)) !== undefined;
}

function isOurs(crd: CustomResourceDefinition): boolean {
  return crd.metadata.managedFields?.some(({ manager }) => manager === fieldManager) === true;
}

function isEstablished(crd: CustomResourceDefinition): boolean {
  return crd.status?.conditions?.some(({ type, status }) => type === "Established" && status === "True") === true;
}
