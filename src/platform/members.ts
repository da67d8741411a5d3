import {
  type ApiClient,
  type Credentials,
  type HttpTransportOptions,
  httpTransport,
  parseKubeconfig,
  type Transport,
} from "../kernel/client/index.js";
import type { Clock } from "../kernel/clock/index.js";
import type { ClusterAccess, ControllerSpec } from "../kernel/control/types.js";
import { InputError, messageOf } from "../kernel/errors/index.js";
import { isConditionTrue, type Secret, SecretKind } from "../kernel/kinds/index.js";
import { type Cluster, ClusterKind } from "../modules/fleet/index.js";
import { type OwnedAccess, openAccess, type Surroundings } from "./access.js";

/** How often credentials are read again: they are renewed by whoever issued them. */
const rereadMs = 30_000;
/** The same for members that do not answer: with a new authority they may. */
const rereadUnwellMs = 3_000;
/** Credentials that are refused are read again at once, but no more often. */
const refusedRereadMs = 1_000;

/** The members that the hub's Cluster objects say how to reach. */
export interface MemberConnections {
  /** The same object as long as address and authority are the same; renewed credentials do not change it. */
  access(name: string): ClusterAccess | undefined;
  /** A way into a member by which the hub may speak for others: as `spec.impersonatorSecretRef` says, else as it delivers. */
  speaker(name: string): Transport | undefined;
  /** Keeps the connections as the Cluster objects and the Secrets that they name say. */
  readonly controller: ControllerSpec;
  close(): Promise<void>;
}

/** A connection whose credentials may change while it is used. */
interface Held {
  /** What, when it changes, needs another connection; renewed credentials do not. */
  readonly mark: string;
  readonly holder: Holder;
}

interface Holder {
  credentials: Credentials;
  readMs: number;
  /** Reads the credentials again, from where they came. */
  read: () => Promise<HttpTransportOptions>;
}

interface Connection extends Held {
  readonly access: OwnedAccess;
}

interface Speaker extends Held {
  readonly transport: Transport;
}

/** The connections of one kind, by the name of their Cluster. */
interface Book<T extends Held> {
  readonly held: Map<string, T>;
  readonly open: (name: string, held: Held, transport: Transport) => T;
  readonly close: (held: T) => Promise<void>;
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
  const connections: Book<Connection> = {
    held: new Map(),
    open: (name, held, transport) => ({ ...held, access: openAccess(name, transport, surroundings) }),
    close: ({ access }) => access.close(),
  };
  const speakers: Book<Speaker> = {
    held: new Map(),
    open: (_name, held, transport) => ({ ...held, transport }),
    close: ({ transport }) => transport.close(),
  };
  const controller: ControllerSpec = {
    name: "member-connections",
    kind: ClusterKind,
    concurrency: 8,
    async reconcile({ name }, _object, context) {
      const cluster = context.cluster.informers.informer(ClusterKind).get({ namespace: "", name });
      if (cluster === undefined || isOwn(name)) {
        await Promise.all([drop(connections, name), drop(speakers, name)]);
        return undefined;
      }
      const spec = cluster.spec ?? {};
      const hub = { client: context.cluster.client, clock: surroundings.clock };
      try {
        await keep(connections, name, wayOf(spec, hub), hub);
        await keep(speakers, name, speakersWayOf(spec, hub), hub);
      } catch (error) {
        await Promise.all([drop(connections, name), drop(speakers, name)]);
        context.events.record(cluster, "Warning", "NotConnected", messageOf(error));
        context.log.warn("no connection to a member", { member: name, reason: messageOf(error) });
      }
      return { requeueAfterMs: isConditionTrue(cluster.status?.conditions, "Ready") ? rereadMs : rereadUnwellMs };
    },
  };
  return {
    access: (name) => connections.held.get(name)?.access,
    speaker: (name) => speakers.held.get(name)?.transport ?? connections.held.get(name)?.access.client.transport,
    controller,
    close: async () => {
      await Promise.all([...connections.held.keys()].map((name) => drop(connections, name)));
      await Promise.all([...speakers.held.keys()].map((name) => drop(speakers, name)));
    },
  };
}

async function drop<T extends Held>(book: Book<T>, name: string): Promise<void> {
  const held = book.held.get(name);
  book.held.delete(name);
  if (held !== undefined) await book.close(held);
}

/** Makes the connection, or gives the one that there is its present credentials. `way` undefined: there is to be none. */
async function keep<T extends Held>(
  book: Book<T>,
  name: string,
  way: Holder["read"] | undefined,
  { clock }: Hub,
): Promise<void> {
  if (way === undefined) return drop(book, name);
  const { token, clientCertPem, clientKeyPem, ...address } = await way();
  const credentials = credentialsOf({ token, clientCertPem, clientKeyPem });
  const mark = JSON.stringify(address);
  const known = book.held.get(name);
  if (known?.mark === mark) {
    Object.assign(known.holder, { credentials, read: way, readMs: clock.monotonicMs() });
    return undefined;
  }
  await drop(book, name);
  const holder: Holder = { credentials, read: way, readMs: clock.monotonicMs() };
  const transport = httpTransport({ ...address, credentials: (state) => presentOf(holder, state.refused, clock) });
  book.held.set(name, book.open(name, { mark, holder }, transport));
  return undefined;
}

/** The credentials; what was refused is read again, so that one that was renewed is used with the same request. */
async function presentOf(holder: Holder, isRefused: boolean, clock: Clock): Promise<Credentials> {
  if (isRefused && clock.monotonicMs() - holder.readMs >= refusedRereadMs) {
    holder.readMs = clock.monotonicMs();
    // What is wrong with the Secret is said when the controller reads it.
    const options = await holder.read().catch(() => undefined);
    if (options !== undefined) {
      const { token, clientCertPem, clientKeyPem } = options;
      holder.credentials = credentialsOf({ token, clientCertPem, clientKeyPem });
    }
  }
  return holder.credentials;
}

type Spec = NonNullable<Cluster["spec"]>;

/** Where Secrets are. */
interface Hub {
  readonly client: ApiClient;
  readonly clock: Clock;
}

/** How a member is entered; undefined: it fetches, and names no way. */
function wayOf(spec: Spec, hub: Hub): Holder["read"] | undefined {
  if (spec.syncMode === "Pull" && spec.secretRef === undefined) return undefined;
  return () => transportOf(spec, hub);
}

/** The same with the token that may speak for others; undefined: the Cluster names none. */
function speakersWayOf(spec: Spec, hub: Hub): Holder["read"] | undefined {
  const { impersonatorSecretRef, secretRef, apiEndpoint } = spec;
  if (impersonatorSecretRef === undefined || (spec.syncMode === "Pull" && apiEndpoint === undefined)) return undefined;
  return async () => {
    const own = await transportOf({ ...spec, secretRef: impersonatorSecretRef }, hub);
    if (own.caPem !== undefined || own.insecureSkipTlsVerify === true || secretRef === undefined) return own;
    const { caPem } = await transportOf(spec, hub);
    return { ...own, ...(caPem === undefined ? {} : { caPem }) };
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

async function transportOf(spec: Spec, { client, clock }: Hub): Promise<HttpTransportOptions> {
  if (spec.proxyURL !== undefined) {
    throw new InputError("spec.proxyURL is not supported: the member must be reachable directly");
  }
  const { name, namespace } = spec.secretRef ?? {};
  if (name === undefined || namespace === undefined) {
    throw new InputError("spec.secretRef must name a Secret with the credentials of this member, and its namespace");
  }
  const where = `Secret ${namespace}/${name}`;
  const secret = await client.resource(SecretKind).find(name, { namespace });
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
