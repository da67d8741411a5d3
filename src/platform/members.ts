import { type Credentials, type HttpTransportOptions, httpTransport, parseKubeconfig } from "../kernel/client/index.js";
import type { ClusterAccess, ControllerSpec, ReconcileContext } from "../kernel/control/types.js";
import { InputError, messageOf } from "../kernel/errors/index.js";
import { type Secret, SecretKind } from "../kernel/kinds/index.js";
import { ClusterKind } from "../modules/fleet/index.js";
import { type OwnedAccess, openAccess, type Surroundings } from "./access.js";

/** How often credentials are read again: they are renewed by whoever issued them. */
const rereadMs = 30_000;

/** The members that the hub's Cluster objects say how to reach. */
export interface MemberConnections {
  /** The same object as long as address and credentials are the same. */
  access(name: string): ClusterAccess | undefined;
  /** Keeps the connections as the Cluster objects and the Secrets that they name say. */
  readonly controller: ControllerSpec;
  close(): Promise<void>;
}

interface Connection {
  /** What, when it changes, needs another connection; renewed credentials do not. */
  readonly mark: string;
  readonly access: OwnedAccess;
  readonly holder: { credentials: Credentials };
}

/**
 * Connections by Cluster objects, as Karmada's push mode has them: `spec.apiEndpoint`, and in the Secret of `spec.secretRef` either `token`
 * and `caBundle`, or a whole `kubeconfig`. What cannot be used is said in an event of the Cluster.
 */
export function memberConnections(
  surroundings: Surroundings,
  /** Members that are reached another way. */
  isOwn: (name: string) => boolean = () => false,
): MemberConnections {
  const connections = new Map<string, Connection>();
  const drop = async (name: string): Promise<void> => {
    const connection = connections.get(name);
    connections.delete(name);
    await connection?.access.close();
  };
  const controller: ControllerSpec = {
    name: "member-connections",
    kind: ClusterKind,
    concurrency: 8,
    async reconcile({ name }, _object, context) {
      const cluster = context.cluster.informers.informer(ClusterKind).get({ namespace: "", name });
      if (cluster === undefined || isOwn(name)) {
        await drop(name);
        return undefined;
      }
      try {
        const options = await transportOf(cluster.spec ?? {}, context, surroundings);
        const { token, clientCertPem, clientKeyPem, ...address } = options;
        const credentials = credentialsOf({ token, clientCertPem, clientKeyPem });
        const mark = JSON.stringify(address);
        const known = connections.get(name);
        if (known?.mark === mark) {
          known.holder.credentials = credentials;
        } else {
          await drop(name);
          const holder = { credentials };
          const transport = httpTransport({ ...address, credentials: async () => holder.credentials });
          connections.set(name, { mark, holder, access: openAccess(name, transport, surroundings) });
          context.log.info("connected to a member", { member: name, server: options.server });
        }
      } catch (error) {
        await drop(name);
        context.events.record(cluster, "Warning", "NotConnected", messageOf(error));
        context.log.warn("no connection to a member", { member: name, reason: messageOf(error) });
      }
      return { requeueAfterMs: rereadMs };
    },
  };
  return {
    access: (name) => connections.get(name)?.access,
    controller,
    close: async () => {
      await Promise.all([...connections.keys()].map(drop));
    },
  };
}

function credentialsOf(given: { readonly [field in keyof Credentials]: string | undefined }): Credentials {
  const { token, clientCertPem, clientKeyPem } = given;
  return {
    ...(token === undefined ? {} : { token }),
    ...(clientCertPem === undefined ? {} : { clientCertPem }),
    ...(clientKeyPem === undefined ? {} : { clientKeyPem }),
  };
}

async function transportOf(
  spec: {
    readonly syncMode?: "Push" | "Pull" | undefined;
    readonly apiEndpoint?: string | undefined;
    readonly secretRef?: { readonly name?: string | undefined; readonly namespace?: string | undefined } | undefined;
    readonly insecureSkipTLSVerification?: boolean | undefined;
    readonly proxyURL?: string | undefined;
  },
  { cluster, signal }: Pick<ReconcileContext<never>, "cluster" | "signal">,
  { clock }: Surroundings,
): Promise<HttpTransportOptions> {
  if (spec.syncMode === "Pull") {
    throw new InputError("spec.syncMode Pull: an agent in the member does the work, nothing is delivered from here");
  }
  if (spec.proxyURL !== undefined) {
    throw new InputError("spec.proxyURL is not supported: the member must be reachable directly");
  }
  const { name, namespace } = spec.secretRef ?? {};
  if (name === undefined || namespace === undefined) {
    throw new InputError("spec.secretRef must name a Secret with the credentials of this member, and its namespace");
  }
  const where = `Secret ${namespace}/${name}`;
  const secret = await cluster.client.resource(SecretKind).find(name, { namespace, signal });
  if (secret === undefined) {
    throw new InputError(`spec.secretRef: there is no ${where}`);
  }
  const server = spec.apiEndpoint;
  const kubeconfig = entryOf(secret, "kubeconfig");
  if (kubeconfig !== undefined) {
    return { ...(await transportOfKubeconfig(where, kubeconfig, clock)), ...(server === undefined ? {} : { server }) };
  }
  const token = entryOf(secret, "token")?.trim();
  if (token === undefined || server === undefined || !URL.canParse(server)) {
    throw new InputError(`give spec.apiEndpoint and, in ${where}, token and caBundle; or a whole kubeconfig there`);
  }
  const caPem = entryOf(secret, "caBundle");
  const insecure = spec.insecureSkipTLSVerification === true;
  return { server, token, ...(insecure ? { insecureSkipTlsVerify: true } : caPem === undefined ? {} : { caPem }) };
}

/** Credentials that stand in the kubeconfig itself; programs and files of this machine are not for a Secret to name. */
async function transportOfKubeconfig(
  where: string,
  text: string,
  clock: Surroundings["clock"],
): Promise<HttpTransportOptions> {
  const { transport } = await parseKubeconfig(text, { folder: "/nonexistent", clock }).catch((error: unknown) => {
    throw new InputError(`${where}: ${messageOf(error)}`, { cause: error });
  });
  if (transport.credentials !== undefined) {
    throw new InputError(
      `${where}: its user runs a program or reads a file; a token or certificate must stand in the kubeconfig itself`,
    );
  }
  return transport;
}

function entryOf(secret: Secret, key: string): string | undefined {
  const value = secret.data?.[key];
  return value === undefined || value === "" ? undefined : Buffer.from(value, "base64").toString("utf8");
}
