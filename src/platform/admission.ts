import { isIP } from "node:net";
import { checksOf, type ObjectCheck } from "../cluster/apiserver/index.js";
import { admissionKeeper, type HookPlace, startWebhookServer } from "../cluster/webhooks/index.js";
import type { ControllerSpec } from "../kernel/control/types.js";
import { ApiError, InputError } from "../kernel/errors/index.js";
import { keepCertificate, openAuthority } from "../kernel/identity/index.js";
import {
  LeaseKind,
  type ValidatingWebhookConfiguration,
  ValidatingWebhookConfigurationKind,
} from "../kernel/kinds/index.js";
import type { Level, Module, ModuleAdmission } from "../kernel/module/types.js";
import type { OwnedAccess, Surroundings } from "./access.js";
import type { ListenAddress } from "./agent.js";
import { agentName } from "./agent-manifests.js";
import type { Closers } from "./closers.js";
import type { Layout } from "./layout.js";
import { admissionAt, kindsAt } from "./level.js";

/** Where the API server of somebody else asks what the modules refuse and fill in. */
export interface AdmissionPlace {
  readonly listen: ListenAddress;
  /** Names and addresses of the certificate. */
  readonly names: readonly string[];
  /** As the API server finds it, once the port is known. */
  readonly at: (port: number) => HookPlace;
}

/** What the place follows from. */
export interface PlaceInput {
  readonly level: Level;
  readonly namespace: string;
  /** Of the API server. */
  readonly server: string;
  /** Absent: this runs in a pod of the cluster, behind the Service of `agentDeployment`. */
  readonly kubeconfig?: string | undefined;
  readonly webhook?: ListenAddress | undefined;
  readonly advertise?: string | undefined;
}

const SERVICE_PORT = 443;
const loopback = "127.0.0.1";

/** Where it is, or why it is nowhere. Throws `InputError` where the API server cannot know an address. Pure. */
export function admissionPlace(input: PlaceInput): AdmissionPlace | string {
  const { level, namespace, server, webhook, advertise } = input;
  const byUrl = (listen: ListenAddress, host: string): AdmissionPlace => ({
    listen,
    names: [host],
    at: (port) => ({ url: `https://${isIP(host) === 6 ? `[${host}]` : host}:${port}` }),
  });
  if (webhook === undefined) {
    return isLoopback(new URL(server).hostname)
      ? byUrl({ host: loopback, port: 0 }, loopback)
      : "it would have to be told where: --webhook HOST:PORT";
  }
  if (input.kubeconfig === undefined) {
    const name = agentName(level);
    return {
      listen: webhook,
      names: [`${name}.${namespace}.svc`],
      at: () => ({ service: { namespace, name, port: SERVICE_PORT } }),
    };
  }
  const isEverywhere = ["0.0.0.0", "::"].includes(webhook.host);
  if (!isEverywhere) return byUrl(webhook, webhook.host);
  if (advertise === undefined || advertise === "services")
    throw new InputError("--webhook listens on every address: name the one by which the API server reaches it");
  return byUrl(webhook, advertise);
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.");
}

/** What admission is served with. */
export interface AdmissionInput extends Surroundings {
  readonly level: Level;
  readonly namespace: string;
  readonly modules: readonly Module[];
  readonly access: OwnedAccess;
  readonly layout: Layout;
  readonly closers: Closers;
  readonly place: AdmissionPlace;
  readonly note: (text: string) => void;
}

/**
 * Serves the modules' admission by webhooks, with a certificate by the agent's own authority that renews itself. Returns what registers them, for whoever
 * leads; nothing where this identity may not.
 */
export async function serveAdmission(input: AdmissionInput): Promise<ControllerSpec<ValidatingWebhookConfiguration>[]> {
  const { level, namespace, access, layout, closers, place, note, clock, random, log } = input;
  const refused = await refusalIn(access);
  if (refused !== undefined) {
    note(notServed(refused));
    return [];
  }
  const checks = checksIn(input);
  const authority = await openAuthority({ clock, name: "argosy", directory: layout.pki });
  const certificate = await keepCertificate({
    authority,
    clock,
    log,
    subject: { use: "server", names: place.names },
    onRenewed: ({ certPem, keyPem }) => server.setCertificate(certPem, keyPem),
  });
  closers.add(async () => certificate.close());
  const { certPem, keyPem } = certificate.current;
  const server = await startWebhookServer({ certPem, keyPem, checks, clock, random, log, ...place.listen });
  closers.add(() => server.close());
  let said = "";
  const keeper = admissionKeeper({
    name: agentName(level),
    namespace,
    checks,
    place: place.at(server.port),
    caPem: authority.caPem,
    mark: server.mark,
    onState: ({ isAsked, why }) => {
      const text = isAsked ? "admission: the API server asks this agent" : notServed(why);
      if (text !== said) note(text);
      said = text;
    },
  });
  closers.add(() => keeper.withdraw(access.client));
  return [keeper.controller];
}

/** Says that admission is not served. Pure. */
export function notServed(why: string): string {
  return `admission is not served: ${why}; what is wrong is said in conditions only`;
}

/** Why this identity may register nothing. */
async function refusalIn({ client }: OwnedAccess): Promise<string | undefined> {
  try {
    await client.resource(ValidatingWebhookConfigurationKind).list({ limit: 1 });
    return undefined;
  } catch (error) {
    if (error instanceof ApiError && error.httpCode === 403) return error.message;
    throw error;
  }
}

/** Whether any of the modules has something to say at a level. */
export function hasAdmission(modules: readonly Module[], level: Level): boolean {
  return admissionAt(modules, level).length > 0;
}

function checksIn({ modules, level, access, namespace }: AdmissionInput): ObjectCheck[] {
  const members = kindsAt(modules, "cluster");
  const isOfMembers = ({ kind }: ModuleAdmission): boolean =>
    kind !== undefined && members.some((other) => other.kind === kind.kind && other.group === kind.group);
  return checksOf(
    admissionAt(modules, level).map((admission) =>
      level === "continuum" && isOfMembers(admission) ? unlessMember(admission, namespace) : admission,
    ),
    () => access,
  );
}

/** A cluster of somebody's own may be hub and member at once: there, what only members carry out is welcome. */
function unlessMember(admission: ModuleAdmission, namespace: string): ModuleAdmission {
  const { review } = admission;
  if (review === undefined) return admission;
  return {
    ...admission,
    review: async (object, old, cluster) => {
      const lease = await cluster.client.resource(LeaseKind).find(agentName("cluster"), { namespace });
      return lease === undefined ? review(object, old, cluster) : { faults: [], warnings: [] };
    },
  };
}
