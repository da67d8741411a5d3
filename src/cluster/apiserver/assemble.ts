import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Clock, Random } from "../../kernel/clock/index.js";
import {
  type Authority,
  type KeptCertificate,
  keepCertificate,
  keepToken,
  openAuthority,
  openServiceAccountTokens,
  randomToken,
  type ServiceAccountTokens,
} from "../../kernel/identity/index.js";
import type { JsonObject } from "../../kernel/kinds/object.js";
import type { Logger } from "../../kernel/log/index.js";
import { type Connect, connectDirectly } from "../../kernel/netns/index.js";
import { createAdmission, ensureBootstrapObjects, type ObjectCheck, type Submit } from "./admission/index.js";
import { type AuditOptions, openAudit } from "./audit/index.js";
import { type AuthenticationConfig, createAuth, ownIssuer } from "./auth/index.js";
import {
  createTransformer,
  type EncryptionConfig,
  encryptedJournal,
  markJournal,
  rewriteJournal,
  settleRewrite,
} from "./encryption/index.js";
import { JournalError } from "./journal/errors.js";
import { logJournal } from "./journal/log.js";
import { memoryJournal } from "./journal/memory.js";
import { createLimits, type LimitOptions } from "./limits/index.js";
import { createNodeMetrics } from "./node-metrics/index.js";
import { deleteEverything, ownRequest } from "./own-requests.js";
import { createRegistry, DefinitionController } from "./registry/index.js";
import { FrameCache } from "./render/frames.js";
import { createLine, type Line } from "./server/line.js";
import { type CompactableStore, openStore } from "./store/index.js";
import { createSubresources, type ObjectProxy } from "./subresources/index.js";
import type { UserInfo } from "./types.js";

/** What an API server is made of. */
export interface ApiServerOptions {
  /** In names of certificates. */
  readonly clusterName: string;
  /** Holds `journal/` and `pki/`; absent: everything is kept in memory and lost at the end. */
  readonly dataDir?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** From which Services get their addresses. */
  readonly serviceCidr: string;
  /** From which they get them when all of those are given away; default: none. */
  readonly serviceOverflow?: string;
  /** Bearer tokens that are valid as long as the server runs. */
  readonly tokens: readonly { readonly token: string; readonly user: UserInfo }[];
  readonly authorization: "rbac";
  /** Issuers whose tokens count, and whether anonymous requests do; default: none, and they do. */
  readonly authentication?: AuthenticationConfig;
  /** What is noted of requests, and where; default: nothing. */
  readonly audit?: AuditOptions;
  /** What is encrypted on the disk; default: nothing. */
  readonly encryption?: EncryptionConfig;
  /** How much one user may ask for over the network; default: as much as they like. */
  readonly limits?: LimitOptions;
  /** What else looks at objects before they are stored; default: nothing. */
  readonly checks?: readonly ObjectCheck[];
  /** Who answers the `proxy` subresource of kinds that are none of the server's own. */
  readonly proxies?: readonly ObjectProxy[];
  /** Whether metrics.k8s.io is served, from the nodes' agents; default: no. */
  readonly nodeMetrics?: boolean;
  /** How pods are reached, by proxies and webhooks; default: as everything else. */
  readonly connect?: Connect;
}

/** The parts that the server's face (`index.ts`) works with. */
export interface Assembly {
  readonly store: CompactableStore;
  readonly line: Line;
  readonly authority: Authority;
  readonly adminToken: string;
  readonly submit: Submit;
  close(): Promise<void>;
}

/** In whose name the server writes its own objects. */
const self: UserInfo = { username: "system:apiserver", groups: ["system:masters", "system:authenticated"] };
const admin: UserInfo = { username: "argosy:admin", groups: ["system:masters", "system:authenticated"] };
const kubeletClient = { use: "client", user: "kube-apiserver-kubelet-client", groups: [] } as const;

interface Secrets {
  readonly authority: Authority;
  readonly serviceAccountTokens: ServiceAccountTokens;
  readonly adminToken: string;
  readonly kubelet: KeptCertificate;
}

/** Opens the data directory, puts the request line together and makes the objects that a cluster is born with. */
export async function assemble(options: ApiServerOptions): Promise<Assembly> {
  const pki = options.dataDir === undefined ? undefined : join(options.dataDir, "pki");
  if (pki !== undefined) await mkdir(pki, { recursive: true, mode: 0o700 });
  const secrets = await openSecrets(options, pki);
  const store = await openJournal(options).catch((error: unknown) => {
    secrets.kubelet.close();
    throw error;
  });
  try {
    return await assembleOver(store, options, secrets);
  } catch (error) {
    secrets.kubelet.close();
    await store.close();
    throw error;
  }
}

async function openSecrets(options: ApiServerOptions, pki: string | undefined): Promise<Secrets> {
  const { clock, random, log } = options;
  const file = (name: string): { file: string } | undefined =>
    pki === undefined ? undefined : { file: join(pki, name) };
  const authority = await openAuthority({
    clock,
    name: `${options.clusterName}-ca`,
    ...(pki === undefined ? {} : { directory: pki }),
  });
  const serviceAccountTokens = await openServiceAccountTokens({
    clock,
    random,
    issuer: ownIssuer,
    ...file("sa.key"),
    // What every OIDC relying party understands; a cluster in memory has none and starts a tenth of a second sooner.
    algorithm: pki === undefined ? "ES256" : "RS256",
  });
  const adminToken = pki === undefined ? randomToken() : await keepToken(join(pki, "admin.token"));
  const kubelet = await keepCertificate({
    authority,
    clock,
    log,
    subject: kubeletClient,
    ...file("kubelet-client.pem"),
  });
  return { authority, serviceAccountTokens, adminToken, kubelet };
}

/** Builds before the log kept everything in one database. To begin empty beside it would look as if all were lost. */
function refuseFormerJournal(dataDir: string, directory: string): void {
  const former = join(dataDir, "journal.db");
  if (existsSync(directory) || !existsSync(former)) return;
  throw new JournalError(
    "JournalUnreadable",
    `${former}: written by an earlier build, which this one does not read; go on with that build, or move the file away (argosy up --fresh: everything) to start empty`,
  );
}

async function openJournal(options: ApiServerOptions): Promise<CompactableStore> {
  const { dataDir, clock, log, encryption: config } = options;
  if (dataDir === undefined) return openStore({ journal: memoryJournal(), clock });
  const directory = join(dataDir, "journal");
  settleRewrite(directory);
  refuseFormerJournal(dataDir, directory);
  // Also without a configuration: what is encrypted is then refused by name.
  const transformer = createTransformer(config);
  if (config !== undefined) await rewriteJournal(directory, transformer, { config, log });
  const journal = encryptedJournal(logJournal(directory), transformer);
  if (config !== undefined) markJournal(directory, config);
  try {
    return openStore({ journal, clock });
  } catch (error) {
    await journal.close();
    throw error;
  }
}

async function assembleOver(store: CompactableStore, options: ApiServerOptions, secrets: Secrets): Promise<Assembly> {
  const { clock, random, log, serviceCidr, serviceOverflow, connect = connectDirectly } = options;
  const serviceCidrs = serviceOverflow === undefined ? [serviceCidr] : [serviceCidr, serviceOverflow];
  const { authority, serviceAccountTokens, adminToken, kubelet } = secrets;
  const submit: Submit = (method, path, body) => line.handleAs(self, ownRequest(method, path, body));
  const auth = openAuth(store, options, secrets);
  const admission = createAdmission({
    store,
    clock,
    random,
    serviceCidrs,
    submit,
    authorizer: auth.authorizer,
    log,
    connect,
    checks: options.checks ?? [],
    types: () => registry.all(),
  });
  const nodeCredentials = () => credentialsOf(secrets);
  const { proxies = [] } = options;
  const parts = { store, clock, serviceAccountTokens, submit, nodeCredentials, connect, proxies };
  const subresources = createSubresources(parts);
  const isServed = options.nodeMetrics === true;
  const metrics = createNodeMetrics({ store, clock, log, nodeCredentials, isServed });
  const more = metrics.resources.map(({ type }) => type);
  const registry = createRegistry({ log, convert: admission.convert, more });
  const deleteAll = (resource: Parameters<typeof deleteEverything>[2]) => deleteEverything(store, submit, resource);
  const track = statusOwner(registry);
  const definitions = new DefinitionController({ store, registry, clock, log, deleteAll, track });
  const audit = options.audit === undefined ? undefined : openAudit(options.audit, { clock, random, log });
  let isReady = false;
  const line = createLine({
    store,
    registry,
    admission: [...auth.admission, ...admission.plugins],
    clock,
    random,
    auth,
    subresources: subresources.handlers,
    virtualResources: [...auth.virtualResources, ...subresources.virtualResources],
    computedResources: metrics.resources,
    frames: new FrameCache(),
    answerPath: auth.answerPath,
    log,
    ...(audit === undefined ? {} : { audit }),
    ...(options.limits === undefined ? {} : { limits: createLimits(options.limits, clock) }),
    isReady: () => isReady,
  });
  definitions.start();
  await ensureBootstrapObjects({ store, submit, serviceCidrs, roles: metrics.roles });
  isReady = true;
  const close = async (): Promise<void> => {
    isReady = false;
    for (const part of [kubelet, definitions, subresources, metrics, admission, auth, audit]) part?.close();
    await store.close();
  };
  return { store, line, authority, adminToken, submit, close };
}

/** Notes who owns what the server itself says of a definition. */
function statusOwner(registry: ReturnType<typeof createRegistry>) {
  return (object: JsonObject, old: JsonObject, now: string): void =>
    registry
      .find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
      ?.merge.trackUpdate(object, old, { manager: "kube-apiserver", subresource: "status", now });
}

function openAuth(store: CompactableStore, options: ApiServerOptions, secrets: Secrets) {
  const { clock, log, authentication } = options;
  const { adminToken, serviceAccountTokens } = secrets;
  const tokens = [...options.tokens, { token: adminToken, user: admin }];
  const config = authentication === undefined ? {} : { config: authentication };
  return createAuth({ store, clock, log, tokens, serviceAccountTokens, ...config });
}

/** By what the server shows itself to nodes; renewed from time to time. */
function credentialsOf({ authority, kubelet }: Secrets) {
  const { certPem: clientCertPem, keyPem: clientKeyPem } = kubelet.current;
  return { caPem: authority.caPem, clientCertPem, clientKeyPem };
}
