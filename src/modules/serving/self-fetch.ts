/**
 * Servers that fetch their model themselves: one program starts instead of two, and loads its engine meanwhile. Only the built-in server does, only
 * where nobody else has a part in the fetching or reads what is fetched, and only models that are no code: that would run beside the keys of
 * its store. What a model is shows when it is there; one that is code is fetched by an init container from then on.
 */
import type { Deployment, JsonObject, Pod } from "../../kernel/kinds/index.js";
import { asObject, asObjects, asString } from "../../kernel/schema/index.js";
import { lastWordsOf } from "./diagnosis.js";

/** What says where the model is, in what may run, or how it is to be fetched. */
const DECIDED = /^--(allow-code|allow-pickles|model-uri|repository|cache|storage-config|fetch-to)(=|$)/;
const DECIDED_VARIABLES = /^ARGOSY_MODEL_(ALLOW_|CACHE$)/;

const wordsOf = (value: unknown): string[] => (Array.isArray(value) ? value.map(asString) : []);
const withoutSlash = (path: string): string => path.replace(/\/+$/, "");

/** The folder that a server's arguments name. */
function folderIn(args: readonly string[]): string | undefined {
  const at = args.findIndex((arg) => /^--model-dir(=|$)/.test(arg));
  const word = args[at];
  return word === "--model-dir" ? args[at + 1] : word?.slice("--model-dir=".length);
}

/** What a server fetches with. */
export interface SelfFetch {
  readonly uri: string;
  /** Where its model is to lie. */
  readonly folder: string;
  readonly cacheFolder: string;
  /** File with the store's address and keys. */
  readonly config: string | undefined;
  readonly env: readonly JsonObject[];
  /** Of the folder, the cache and the credentials. */
  readonly mounts: readonly JsonObject[];
  readonly volumes: readonly JsonObject[];
}

/** Whether the built-in server `main` may fetch its model itself. */
export function mayFetchItself(
  pod: JsonObject,
  main: JsonObject,
  { folder, env }: Pick<SelfFetch, "folder" | "env">,
): boolean {
  const args = wordsOf(main["args"]);
  const names = new Set(asObjects(main["env"]).map(({ name }) => asString(name)));
  const isBelow = (path: string): boolean => `${path}/`.startsWith(`${withoutSlash(folder)}/`);
  return (
    asObjects(pod["containers"]).length === 1 &&
    asObjects(pod["initContainers"]).length === 0 &&
    main["command"] === undefined &&
    asObject(main["securityContext"])["runAsUser"] === undefined &&
    withoutSlash(folderIn(args) ?? "") === withoutSlash(folder) &&
    !args.some((arg) => DECIDED.test(arg)) &&
    ![...names].some((name) => DECIDED_VARIABLES.test(name)) &&
    !env.some(({ name }) => names.has(asString(name))) &&
    !asObjects(main["volumeMounts"]).some(({ mountPath }) => isBelow(asString(mountPath)))
  );
}

/** Adds what the server fetches with, in place. */
export function addSelfFetch(pod: JsonObject, main: JsonObject, fetch: SelfFetch): void {
  const config = fetch.config === undefined ? [] : ["--storage-config", fetch.config];
  const fetching = ["--model-uri", fetch.uri, "--cache", fetch.cacheFolder, ...config, "--allow-code", "elsewhere"];
  const env = [...asObjects(main["env"]), ...fetch.env];
  main["args"] = [...wordsOf(main["args"]), ...fetching];
  if (env.length > 0) main["env"] = env;
  main["volumeMounts"] = [...asObjects(main["volumeMounts"]), ...fetch.mounts];
  pod["volumes"] = [...asObjects(pod["volumes"]), ...fetch.volumes];
}

/** What must be fetched by an init container: what one of `fetchers` fetches already, which would be no reason for new pods, and what showed to be code. */
export function fetchedApart(
  template: Deployment["spec"]["template"] | undefined,
  pods: readonly Pod[],
  fetchers: RegExp,
): string[] {
  return [
    ...(template?.spec?.initContainers ?? []).flatMap(({ name, args }) =>
      fetchers.test(name) ? uriIn(args ?? []) : [],
    ),
    ...pods.flatMap(codeIn),
  ];
}

/** Whether a server of pods as they were built would fetch one of these itself. */
export function fetchesItself(template: JsonObject, uris: readonly string[]): boolean {
  const containers = asObjects(asObject(template["spec"])["containers"]);
  return containers.some(({ args }) => uriIn(wordsOf(args)).some((uri) => uris.includes(uri)));
}

const uriIn = (args: readonly string[]): string[] => {
  const at = args.indexOf("--model-uri");
  return at === -1 ? [] : args.slice(at + 1, at + 2);
};

function codeIn({ spec, status }: Pod): string[] {
  const isCode = (status?.containerStatuses ?? []).some((one) => lastWordsOf(one).startsWith("ModelIsCode: "));
  return isCode ? spec.containers.flatMap(({ args }) => uriIn(args ?? [])) : [];
}
