import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { load } from "js-yaml";
import { type Clock, systemClock } from "../clock/index.js";
import { InputError, messageOf } from "../errors/index.js";
import type { JsonObject } from "../kinds/index.js";
import { didYouMean, isObject } from "../schema/index.js";
import { execCredentials, fileCredentials } from "./credentials.js";
import type { Credentials, HttpTransportOptions } from "./http-transport.js";

/** A cluster and an identity in it. */
export interface ClusterContext {
  /** The context's name. */
  readonly name: string;
  readonly cluster: string;
  readonly user: string;
  /** Default `default`. */
  readonly namespace: string;
  readonly transport: HttpTransportOptions;
}

function text(object: JsonObject, field: string): string | undefined {
  const value = object[field];
  return typeof value === "string" && value !== "" ? value : undefined;
}

function named(config: JsonObject, list: string, inner: string, name: string): JsonObject {
  const entries = Array.isArray(config[list]) ? config[list] : [];
  const names: string[] = [];
  for (const entry of entries) {
    if (!isObject(entry) || typeof entry["name"] !== "string") continue;
    names.push(entry["name"]);
    const value = entry[inner];
    if (entry["name"] === name) return isObject(value) ? value : {};
  }
  const hint = didYouMean(name, names);
  throw new InputError(`kubeconfig has no ${inner} "${name}"${hint === undefined ? "" : `; did you mean "${hint}"?`}`);
}

/** A PEM given inline (base64) or as a file beside the kubeconfig. */
async function pem(object: JsonObject, field: string, folder: string): Promise<string | undefined> {
  const inline = text(object, `${field}-data`);
  if (inline !== undefined) return Buffer.from(inline, "base64").toString("utf8");
  const file = text(object, field);
  if (file === undefined) return undefined;
  return readFile(resolve(folder, file), "utf8").catch((error: unknown) => {
    throw new InputError(`kubeconfig: ${field}: ${messageOf(error)}`, { cause: error });
  });
}

async function userCredentials(
  user: JsonObject,
  folder: string,
  clock: Clock,
): Promise<Credentials & Pick<HttpTransportOptions, "credentials">> {
  const plugin = user["exec"];
  if (isObject(plugin)) return { credentials: execCredentials(plugin, folder, clock) };
  const clientCertPem = await pem(user, "client-certificate", folder);
  const clientKeyPem = await pem(user, "client-key", folder);
  const certificate = {
    ...(clientCertPem === undefined ? {} : { clientCertPem }),
    ...(clientKeyPem === undefined ? {} : { clientKeyPem }),
  };
  const token = text(user, "token");
  if (token !== undefined) return { ...certificate, token };
  const tokenFile = text(user, "tokenFile");
  if (tokenFile !== undefined) return { credentials: fileCredentials(resolve(folder, tokenFile), certificate, clock) };
  if (text(user, "username") !== undefined || isObject(user["auth-provider"])) {
    throw new InputError(
      "kubeconfig: user names a password or an auth-provider; Kubernetes supports neither any more: use token, client-certificate or exec",
    );
  }
  return certificate;
}

/** Reads kubeconfig text. Relative files in it are taken from `folder`. Throws `InputError`. */
export async function parseKubeconfig(
  source: string,
  options: { readonly folder: string; readonly context?: string; readonly clock: Clock },
): Promise<ClusterContext> {
  const config: unknown = load(source);
  if (!isObject(config)) throw new InputError("kubeconfig is no YAML mapping");
  const name = options.context ?? text(config, "current-context");
  if (name === undefined) throw new InputError("kubeconfig has no current-context and no context was named");
  const context = named(config, "contexts", "context", name);
  const clusterName = text(context, "cluster") ?? "";
  const userName = text(context, "user") ?? "";
  const cluster = named(config, "clusters", "cluster", clusterName);
  const user = userName === "" ? {} : named(config, "users", "user", userName);
  const server = text(cluster, "server");
  if (server === undefined || !URL.canParse(server))
    throw new InputError(`kubeconfig: cluster "${clusterName}" has no server URL`);
  const caPem = await pem(cluster, "certificate-authority", options.folder);
  const tlsServerName = text(cluster, "tls-server-name");
  return {
    name,
    cluster: clusterName,
    user: userName,
    namespace: text(context, "namespace") ?? "default",
    transport: {
      server,
      ...(caPem === undefined ? {} : { caPem }),
      ...(tlsServerName === undefined ? {} : { tlsServerName }),
      ...(cluster["insecure-skip-tls-verify"] === true ? { insecureSkipTlsVerify: true } : {}),
      ...(await userCredentials(user, options.folder, options.clock)),
    },
  };
}

/** Reads a context (default: the current one) of a kubeconfig file. `clock` dates cached credentials. Throws `InputError` naming the file. */
export async function loadKubeconfig(
  file: string,
  context?: string,
  clock: Clock = systemClock,
): Promise<ClusterContext> {
  try {
    const source = await readFile(file, "utf8");
    return await parseKubeconfig(source, {
      folder: dirname(resolve(file)),
      clock,
      ...(context === undefined ? {} : { context }),
    });
  } catch (error) {
    throw new InputError(`${file}: ${messageOf(error)}`, { cause: error });
  }
}

const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The cluster that this pod runs in, by its ServiceAccount. `environment` is the process's. */
export async function inClusterContext(
  environment: Readonly<Record<string, string | undefined>>,
  clock: Clock,
  folder: string = serviceAccountFolder,
): Promise<ClusterContext> {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = environment;
  if (host === undefined) throw new InputError("not in a pod: KUBERNETES_SERVICE_HOST is not set");
  const address = host.includes(":") ? `[${host}]` : host;
  return {
    name: "in-cluster",
    cluster: "in-cluster",
    user: "service-account",
    namespace: (await readFile(`${folder}/namespace`, "utf8")).trim(),
    transport: {
      server: `https://${address}:${port}`,
      caPem: await readFile(`${folder}/ca.crt`, "utf8"),
      credentials: fileCredentials(`${folder}/token`, {}, clock),
    },
  };
}
