import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { load } from "js-yaml";
import { systemClock } from "../../kernel/clock/index.js";
import { asObjects, isObject } from "../../kernel/schema/index.js";
import { parseJsonObject } from "../manifest/json.js";
import { discover, type ServedResource } from "../resource/discovery.js";
import { resourcePath } from "../resource/path.js";
import { type ConnectionOptions, connect, dataDirectory, type Session } from "../session.js";

/** What a cluster can say while a command line is typed. Nothing of it throws; what is not known at once is left out. */
export interface ClusterNames {
  contexts(): Promise<string[]>;
  namespaces(): Promise<string[]>;
  /** Types of objects, as commands take them. */
  types(): Promise<readonly ServedResource[]>;
  /** Names of the objects of a type, in the namespace of the command line. */
  names(resource: ServedResource): Promise<string[]>;
  close(): Promise<void>;
}

/** A person waits for it. */
const patienceMs = 1_500;
const maxNames = 500;
const namesOnly = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/** Asks the cluster that the options of a command line name. */
export function clusterNames(options: ConnectionOptions & { readonly namespace?: string }): ClusterNames {
  let opened: Promise<Session> | undefined;
  let served: Promise<readonly ServedResource[]> | undefined;
  const session = (): Promise<Session> => {
    opened ??= connect(options);
    return opened;
  };
  const list = async (path: string): Promise<string[]> => {
    const { client } = await session();
    const answer = await client.json("GET", `${path}?limit=${maxNames}`, undefined, { headers: { accept: namesOnly } });
    return asObjects(parseJsonObject(answer)?.["items"]).flatMap((item) => {
      const name = parseJsonObject(item["metadata"])?.["name"];
      return typeof name === "string" ? [name] : [];
    });
  };
  return {
    contexts: () => inTime(contextsIn(options.kubeconfig ?? join(dataDirectory(options), "kubeconfig")), []),
    namespaces: () => inTime(list("/api/v1/namespaces"), []),
    types: () => {
      served ??= inTime(
        session().then(({ client }) => discover(client)),
        [],
      );
      return served;
    },
    names: (resource) =>
      inTime(
        session().then(({ namespace }) => list(resourcePath(resource, options.namespace ?? namespace))),
        [],
      ),
    close: async () => {
      const session = await inTime<Session | undefined>(opened ?? Promise.resolve(undefined), undefined);
      await session?.client.close();
    },
  };
}

/** The value, or `otherwise` when it fails or takes too long. */
async function inTime<T>(value: Promise<T>, otherwise: T): Promise<T> {
  const stop = new AbortController();
  const late = systemClock.sleep(patienceMs, stop.signal).then(
    () => otherwise,
    () => otherwise,
  );
  const given = await Promise.race([value.catch(() => otherwise), late]);
  stop.abort();
  return given;
}

async function contextsIn(file: string): Promise<string[]> {
  const config: unknown = load(await readFile(file, "utf8"));
  const contexts = isObject(config) && Array.isArray(config["contexts"]) ? config["contexts"] : [];
  return contexts.flatMap((context) =>
    isObject(context) && typeof context["name"] === "string" ? [context["name"]] : [],
  );
}
