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

/** The Secrets that HeadIngresses name, as files that the gateway can read; only they, and only these keys of them. */
export class HeadSecrets {
  readonly #cluster: ClusterAccess;
  readonly #gateway: GatewayDriver;
  readonly #files = new Map<string, Files>();

  constructor(cluster: ClusterAccess, gateway: GatewayDriver) {
    this.#cluster = cluster;
    this.#gateway = gateway;
  }

  of(head: HeadIngress): Files {
    return this.#files.get(head.metadata.uid) ?? NONE;
  }

  /** Reads them anew. True when a file is another one than before. */
  async refresh(head: HeadIngress): Promise<boolean> {
    const { tls, backendTLS } = head.spec;
    const { uid } = head.metadata;
    if (tls === undefined && backendTLS === undefined) return this.#files.delete(uid);
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
    const files: Files = {
      client: certFile === undefined || keyFile === undefined ? undefined : { certFile, keyFile },
      backend: Object.fromEntries(backend.filter(([, file]) => file !== undefined)),
      faults: [...new Set(faults)],
    };
    const isNew = JSON.stringify(files) !== JSON.stringify(this.of(head));
    this.#files.set(uid, files);
    return isNew;
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
