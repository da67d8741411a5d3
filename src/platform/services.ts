import { join } from "node:path";
import { createNorthbound, decisionRoutes } from "../faces/northbound/index.js";
import type { ApiClient } from "../kernel/client/types.js";
import type { HttpsServer } from "../kernel/https/index.js";
import { keepCertificate, openAuthority } from "../kernel/identity/index.js";
import type { HttpRoute } from "../kernel/module/types.js";
import { createS3Server, type S3Credential } from "../stores/blobs/index.js";
import type { Surroundings } from "./access.js";
import { artifactBucket, keepArtifactKeys } from "./artifact-access.js";
import type { Closers } from "./closers.js";
import { hostServiceNames } from "./host-services.js";
import type { Layout } from "./layout.js";
import type { Stores } from "./stores.js";

/** The services of a platform beside its clusters. */
export type ServiceName = "northbound" | "artifacts";

export interface ServicesInput extends Surroundings {
  readonly layout: Layout;
  readonly stores: Stores;
  readonly closers: Closers;
  /** Of the modules; the ledger's are added. */
  readonly routes: readonly HttpRoute[];
  /** Asks the hub who callers are and what they may do. */
  readonly hubClient: ApiClient;
  readonly hosts: Readonly<Record<ServiceName, string>>;
  /** Gives a service its port, another one when that is taken. */
  readonly listen: <T>(name: ServiceName, start: (port: number) => Promise<T>) => Promise<T>;
  /** Further names under which clients reach them. */
  readonly names?: readonly string[];
}

/** Where the services answer, and with what clients trust and read them. */
export interface ServiceAddresses {
  readonly northbound: string;
  readonly artifacts: string;
  readonly caPem: string;
  /** Key of the artifact store that reads. */
  readonly reader: S3Credential;
}

/** Starts the northbound server (tracking, decisions) and the artifact store over TLS, with a certificate by the platform's own authority. */
export async function startPlatformServices(input: ServicesInput): Promise<ServiceAddresses> {
  const { layout, stores, closers, routes, hubClient, hosts, listen, names = [], clock, random, log } = input;
  const authority = await openAuthority({ clock, name: "argosy", directory: layout.pki });
  const servers: HttpsServer[] = [];
  const own = ["localhost", "127.0.0.1", ...hostServiceNames("tracking"), ...hostServiceNames("artifacts")];
  const certificate = await keepCertificate({
    authority,
    clock,
    log,
    file: join(layout.pki, "services.pem"),
    subject: { use: "server", names: [...own, ...names] },
    onRenewed: ({ certPem, keyPem }) => {
      for (const server of servers) server.setCertificate(certPem, keyPem);
    },
  });
  closers.add(async () => certificate.close());
  const { certPem, keyPem } = certificate.current;
  const common = { certPem, keyPem, clock, random, log };
  const keys = await keepArtifactKeys(layout.pki);
  const artifacts = await listen("artifacts", async (port) => {
    const server = createS3Server({
      buckets: { [artifactBucket]: stores.blobs },
      credentials: [keys.writer, keys.reader],
      ...common,
      host: hosts.artifacts,
      port,
    });
    return { server, url: (await server.start()).url };
  });
  servers.push(artifacts.server);
  closers.add(() => artifacts.server.close());
  const northbound = await listen("northbound", async (port) => {
    const server = createNorthbound({
      routes: [...routes, ...decisionRoutes(stores.ledger)],
      hubClient,
      ...common,
      host: hosts.northbound,
      port,
    });
    return { server, url: (await server.start()).url };
  });
  servers.push(northbound.server);
  closers.add(() => northbound.server.close());
  return { northbound: northbound.url, artifacts: artifacts.url, caPem: authority.caPem, reader: keys.reader };
}
