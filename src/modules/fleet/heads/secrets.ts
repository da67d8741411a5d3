import type { GatewayDriver } from "../../../dataplane/gateway/index.js";
import type { ClusterAccess } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { SecretKind } from "../../../kernel/kinds/index.js";
import type { BackendFiles } from "../head-weights.js";
import type { HeadIngress } from "../kinds.js";

/** Certificate and key for the clients of one HeadIngress. */
export interface ClientFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

interface Files {
  readonly client: ClientFiles | undefined;
  readonly backend: BackendFiles;
  readonly faults: readonly string[];
}

const NONE: Files = { client: undefined, backend: {}, faults: [] };
const UNREAD: Files = {
  ...NONE,
  faults: ["the Secrets that spec.tls and spec.backendTLS name have not been read yet"],
};

/** The Secrets that HeadIngresses name, as files that the gateway can read; only they, and only these keys of them. */
export class HeadSecrets {
  readonly #cluster: ClusterAccess;
  readonly #gateway: GatewayDriver;
  /** By uid, and by what of the spec names them. */
  readonly #files = new Map<string, ReadonlyMap<string, Files>>();

  constructor(cluster: ClusterAccess, gateway: GatewayDriver) {
    this.#cluster = cluster;
    this.#gateway = gateway;
  }

  of(head: HeadIngress): Files {
    const names = namesOf(head);
    return names === undefined ? NONE : (this.#files.get(head.metadata.uid)?.get(names) ?? UNREAD);
  }

  /** Reads anew what a HeadIngress names, in each of these forms of it. True when a file is another one than before. */
  async refresh({ metadata: { uid } }: HeadIngress, forms: readonly HeadIngress[]): Promise<boolean> {
    const read = new Map<string, Files>();
    for (const form of forms) {
      const names = namesOf(form);
      if (names !== undefined) read.set(names, await this.#read(form));
    }
    const before = this.#files.get(uid) ?? new Map<string, Files>();
    if (read.size === 0) this.#files.delete(uid);
    else this.#files.set(uid, read);
    return JSON.stringify([...read]) !== JSON.stringify([...before]);
  }

  async #read(head: HeadIngress): Promise<Files> {
    const { tls, backendTLS } = head.spec;
    const faults: string[] = [];
    const read = (field: string, name: string | undefined, key: string): Promise<string | undefined> =>
      name === undefined ? Promise.resolve(undefined) : this.#keep(head, { field, name, key }, faults);
    const certFile = await read("spec.tls.secretName", tls?.secretName, "tls.crt");
    const keyFile = await read("spec.tls.secretName", tls?.secretName, "tls.key");
    const backend: [string, string | undefined][] = [
      ["caFile", await read("spec.backendTLS.caSecretName", backendTLS?.caSecretName, "ca.crt")],
      ["certFile", await read("spec.backendTLS.clientSecretName", backendTLS?.clientSecretName, "tls.crt")],
      ["keyFile", await read("spec.backendTLS.clientSecretName", backendTLS?.clientSecretName, "tls.key")],
    ];
    return {
      client: certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile },
      backend: Object.fromEntries(backend.filter(([, file]) => file !== undefined)),
      faults: [...new Set(faults)],
    };
  }

  async #keep(
    head: HeadIngress,
    { field, name, key }: { readonly field: string; readonly name: string; readonly key: string },
    faults: string[],
  ): Promise<string | undefined> {
    const { namespace = "" } = head.metadata;
    try {
      const secret = await this.#cluster.client.resource(SecretKind).find(name, { namespace });
      const value = secret?.data?.[key];
      if (value !== undefined) return await this.#gateway.keep(Buffer.from(value, "base64").toString("utf8"));
      faults.push(`${field}: ${secret === undefined ? `there is no Secret ${name}` : `Secret ${name} has no ${key}`}`);
    } catch (error) {
      faults.push(`${field}: cannot read Secret ${name}: ${messageOf(error)}`);
    }
    return undefined;
  }
}

/** The Secrets that a HeadIngress names, as one word; undefined: none. */
function namesOf({ spec: { tls, backendTLS } }: HeadIngress): string | undefined {
  if (tls === undefined && backendTLS === undefined) return undefined;
  return JSON.stringify([tls?.secretName, backendTLS?.caSecretName, backendTLS?.clientSecretName]);
}
