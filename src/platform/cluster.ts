import { type ApiServer, createApiServer, type ObjectCheck, type ObjectProxy } from "../cluster/apiserver/index.js";
import type { ClusterAccess } from "../kernel/control/types.js";
import { ArgosyError } from "../kernel/errors/index.js";
import { ClusterRoleBindingKind, ClusterRoleKind, type KindDefinition } from "../kernel/kinds/index.js";
import type { Connect } from "../kernel/netns/index.js";
import { toJson } from "../kernel/schema/index.js";
import { type OwnedAccess, openAccess, type Surroundings } from "./access.js";
import { type Identity, keepCredentials } from "./identities.js";
import { fieldManager, installKinds } from "./install.js";
import type { ClusterSecurity } from "./security.js";

export interface ClusterOptions extends Surroundings {
  readonly name: string;
  readonly dataDir: string;
  readonly port: number;
  /** Gives it the port to listen on, another one when that is taken; absent: `port` or nothing. */
  readonly onPort?: <T>(listen: (port: number) => Promise<T>) => Promise<T>;
  readonly serviceCidr: string;
  readonly serviceOverflow?: string;
  readonly identities: readonly Identity[];
  /** What else looks at objects before they are stored; `as` gives it a client once the server runs. */
  readonly checks?: (as: (identity: Identity) => ClusterAccess) => readonly ObjectCheck[];
  /** Who answers the proxies of kinds of the modules. */
  readonly proxies?: readonly ObjectProxy[];
  /** Whose tokens count, what is noted, encrypted and limited; default: the cluster's own, nothing. */
  readonly security?: ClusterSecurity;
  /** Whether it tells what its nodes and pods use; default: no. */
  readonly nodeMetrics?: boolean;
  /** How the API server reaches pods; default: as everything else. */
  readonly connect?: Connect;
}

/** An embedded cluster's API, up and reachable, with a client for each identity. */
export interface EmbeddedCluster {
  readonly name: string;
  readonly server: ApiServer;
  readonly url: string;
  readonly adminToken: string;
  /** As the cluster's administrator; for the platform's own set-up. */
  readonly admin: ClusterAccess;
  /** As one of the identities given at the start. */
  as(identity: Identity): ClusterAccess;
  close(): Promise<void>;
}

/** Starts the API server of one embedded cluster, listening. */
export async function startCluster(options: ClusterOptions): Promise<EmbeddedCluster> {
  const credentials = await keepCredentials(`${options.dataDir}/tokens`, options.identities);
  const accesses = new Map<string, OwnedAccess>();
  const as = (identity: Identity): ClusterAccess => {
    const credential = credentials.get(identity.name);
    if (credential === undefined)
      throw new ArgosyError("UnknownIdentity", `cluster ${options.name} has no identity ${identity.name}`);
    return access(credential.token, identity.followed);
  };
  const server = await createApiServer({
    clusterName: options.name,
    dataDir: options.dataDir,
    clock: options.clock,
    random: options.random,
    log: options.log.with({ cluster: options.name }),
    serviceCidr: options.serviceCidr,
    ...(options.serviceOverflow === undefined ? {} : { serviceOverflow: options.serviceOverflow }),
    tokens: [...credentials.values()].map(({ identity, token }) => ({ token, user: identity.user })),
    authorization: "rbac",
    ...options.security,
    checks: options.checks?.(as) ?? [],
    proxies: options.proxies ?? [],
    nodeMetrics: options.nodeMetrics === true,
    ...(options.connect === undefined ? {} : { connect: options.connect }),
  });
  const listen = (port: number): Promise<{ readonly url: string }> => server.listen({ host: "127.0.0.1", port });
  const { url } = await (options.onPort?.(listen) ?? listen(options.port)).catch(async (error: unknown) => {
    await server.close();
    throw error;
  });
  const access = (token: string, followed?: Identity["followed"]): ClusterAccess => {
    const known = accesses.get(token);
    if (known !== undefined) {
      return known;
    }
    const made = openAccess(options.name, server.transport(token), options, followed);
    accesses.set(token, made);
    return made;
  };
  return {
    name: options.name,
    server,
    url,
    adminToken: server.adminToken,
    admin: access(server.adminToken),
    as,
    close: async () => {
      for (const opened of accesses.values()) {
        await opened.close();
      }
      await server.close();
    },
  };
}

/** Installs kinds as CRDs and the identities' roles; does nothing where they are as wanted. */
export async function prepareCluster(
  cluster: EmbeddedCluster,
  definitions: readonly KindDefinition[],
  identities: readonly Identity[],
  { clock }: Surroundings,
): Promise<void> {
  await installKinds(cluster.admin.client, definitions, clock);
  const roles = cluster.admin.client.resource(ClusterRoleKind);
  const bindings = cluster.admin.client.resource(ClusterRoleBindingKind);
  const grant = async ({ name, rules, user }: Identity): Promise<void> => {
    if (rules === undefined) return;
    await roles.apply({ metadata: { name }, rules: toJson(rules) }, { fieldManager, force: true });
    await bindings.apply(
      {
        metadata: { name },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user.username }],
      },
      { fieldManager, force: true },
    );
  };
  await Promise.all(identities.map(grant));
}
