import type { ApiClient } from "../../../kernel/client/index.js";
import {
  type ConfigMap,
  ConfigMapKind,
  type Kind,
  type KubeObject,
  type Secret,
  SecretKind,
} from "../../../kernel/kinds/index.js";
import type { EnvSources } from "../pods/env.js";

/** Data of a configMap or secret as bytes, by key. */
export type ObjectData = ReadonlyMap<string, Uint8Array>;

/** Reads the configMaps and secrets that pods of this node refer to: by name only, which is all that a node may do. */
export class ObjectSources implements EnvSources {
  readonly #client: ApiClient;

  constructor(client: ApiClient) {
    this.#client = client;
  }

  async configMap(namespace: string, name: string): Promise<Record<string, string> | undefined> {
    const data = await this.data("configmap", namespace, name);
    return data === undefined ? undefined : asText(data);
  }

  async secret(namespace: string, name: string): Promise<Record<string, string> | undefined> {
    const data = await this.data("secret", namespace, name);
    return data === undefined ? undefined : asText(data);
  }

  async data(kind: "configmap" | "secret", namespace: string, name: string): Promise<ObjectData | undefined> {
    if (kind === "configmap") {
      const object = await this.#client.resource(ConfigMapKind).find(name, { namespace });
      return object === undefined ? undefined : configMapData(object);
    }
    const object = await this.#client.resource(SecretKind).find(name, { namespace });
    return object === undefined ? undefined : secretData(object);
  }

  /** Calls `changed` after each change of one object until the signal aborts. Errors end the watch; the caller tries again. */
  async watch(
    kind: "configmap" | "secret",
    key: { namespace: string; name: string },
    handler: { signal: AbortSignal; changed(): void },
  ): Promise<void> {
    const watched: Kind<KubeObject> = kind === "configmap" ? ConfigMapKind : SecretKind;
    const events = this.#client.resource(watched).watch({
      namespace: key.namespace,
      fieldSelector: `metadata.name=${key.name}`,
      signal: handler.signal,
    });
    for await (const event of events) if (event.type !== "BOOKMARK") handler.changed();
  }
}

function configMapData(object: ConfigMap): ObjectData {
  return new Map([
    ...Object.entries(object.data ?? {}).map(([key, value]): [string, Uint8Array] => [key, Buffer.from(value)]),
    ...Object.entries(object.binaryData ?? {}).map(([key, value]): [string, Uint8Array] => [
      key,
      Buffer.from(value, "base64"),
    ]),
  ]);
}

function secretData(object: Secret): ObjectData {
  return new Map(Object.entries(object.data ?? {}).map(([key, value]) => [key, Buffer.from(value, "base64")]));
}

function asText(data: ObjectData): Record<string, string> {
  return Object.fromEntries([...data].map(([key, value]) => [key, Buffer.from(value).toString("utf8")]));
}
