import { createHash, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";
import type { GatewayDriver, GatewayPart, NamedCertificate } from "../../../dataplane/gateway/index.js";
import type { Clock } from "../../../kernel/clock/index.js";
import type { ClusterAccess } from "../../../kernel/control/index.js";
import { messageOf } from "../../../kernel/errors/index.js";
import { SecretKind, timeOf } from "../../../kernel/kinds/index.js";
import { type BackendFiles, routeIdOf } from "../head-weights.js";
import { headWith } from "../json.unsafe.js";
import type { HeadIngress } from "../kinds.js";
import { classOf } from "./applier.js";
import type { Compiled } from "./compiler.js";
import type { Limit } from "./rendering.js";

/** Certificate and key for the clients of one HeadIngress. */
export interface ClientFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** Files that the gateway has of one HeadIngress. */
interface Carried {
  readonly client: ClientFiles | undefined;
  readonly backend: BackendFiles;
}

interface Files extends Carried {
  /** What is wrong, so that there is nothing to go by. */
  readonly faults: readonly string[];
  /** What is wrong while it is carried all the same: what was right before, or what is out of its time. */
  readonly stale: readonly string[];
}

type CarriedHead = Pick<Compiled, "head" | "route">;

const CLIENTS = "spec.tls.secretName";
const NONE: Files = { client: undefined, backend: {}, faults: [], stale: [] };
const UNREAD: Files = {
  ...NONE,
  faults: ["the Secrets that spec.tls and spec.backendTLS name have not been read yet"],
};

/** The Secrets that HeadIngresses name, as files that the gateway can read; only they, and only these keys of them. */
export class HeadSecrets {
  readonly #cluster: ClusterAccess;
  readonly #gateway: GatewayDriver;
  readonly #nowMs: () => number;
  /** By uid, and by what of the spec names them. */
  readonly #files = new Map<string, ReadonlyMap<string, Files>>();
  /** By host: whose certificate is shown. */
  readonly #shown = new Map<string, { readonly head: HeadIngress; readonly files: ClientFiles }>();
  /** By route id: what the gateway was given before this process. */
  readonly #carried: Map<string, Carried>;

  /** `carried` is what the gateway has of HeadIngresses already. */
  constructor(
    { cluster, clock }: { readonly cluster: ClusterAccess; readonly clock: Pick<Clock, "now"> },
    gateway: GatewayDriver,
    carried: GatewayPart | undefined,
  ) {
    this.#cluster = cluster;
    this.#nowMs = () => clock.now();
    this.#gateway = gateway;
    this.#carried = carried === undefined ? new Map() : carriedIn(carried);
  }

  of(head: HeadIngress): Files {
    const names = namesOf(head);
    return names === undefined ? NONE : (this.#files.get(head.metadata.uid)?.get(names) ?? UNREAD);
  }

  /** The certificates of these HeadIngresses, the oldest first, in the order in which they are shown: of two for one host, the older one's. */
  namesOf(carried: readonly CarriedHead[]): readonly NamedCertificate[] {
    this.#shown.clear();
    return carried.flatMap(({ head, route: { hosts = ["*"] } }) => {
      const files = this.of(head).client;
      if (files === undefined) return [];
      for (const host of hosts) if (!this.#shown.has(host)) this.#shown.set(host, { head, files });
      return [{ hosts, ...files }];
    });
  }

  /** The hosts of a HeadIngress that show another one's certificate, since `namesOf` was asked last. */
  hiddenOf({ head, route: { hosts = ["*"] } }: CarriedHead): readonly Limit[] {
    const files = this.of(head).client;
    if (files === undefined) return [];
    return hosts.flatMap((host) => {
      const shown = this.#shown.get(host);
      if (shown === undefined || shown.files.certFile === files.certFile) return [];
      const { metadata, spec } = shown.head;
      const elder = `the older HeadIngress ${metadata.namespace}/${metadata.name}`;
      const whom = host === "*" ? "who names none" : host;
      return [
        {
          field: CLIENTS,
          message: `the gateway has one certificate for a host: ${whom} gets that of Secret ${spec.tls?.secretName}, which ${elder} names`,
        },
      ];
    });
  }

  /** What keeps a HeadIngress from being carried; empty: nothing. */
  faultOf(head: HeadIngress): string {
    return wantsFiles(head) && !isRenderedWith(head) ? (this.of(head).faults[0] ?? "") : "";
  }

  /** What is wrong with its Secrets while it is carried all the same; empty: nothing. */
  staleOf(head: HeadIngress): string {
    if (!wantsFiles(head)) return "";
    const { faults, stale } = this.of(head);
    return [...stale, ...(isRenderedWith(head) ? faults.map(goneOnWith) : [])].join("; ");
  }

  /** Reads anew what a HeadIngress names, in each of these forms of it, of which the last is the one in effect. True when a file is another one than before. */
  async refresh({ metadata }: HeadIngress, forms: readonly HeadIngress[]): Promise<boolean> {
    const { uid } = metadata;
    const read = new Map<string, Files>();
    const before = this.#files.get(uid) ?? new Map<string, Files>();
    const id = routeIdOf(metadata.namespace ?? "", metadata.name);
    const left = this.#carried.get(id);
    for (const form of forms) {
      const names = namesOf(form);
      if (names === undefined) continue;
      const isLeft = form === forms.at(-1) && classOf(form) === "builtin";
      const earlier = isLeft && left !== undefined ? earlierFiles(form, left) : undefined;
      read.set(names, keeping(before.get(names) ?? earlier, await this.#read(form)));
    }
    this.#carried.delete(id);
    if (read.size === 0) this.#files.delete(uid);
    else this.#files.set(uid, read);
    return JSON.stringify([...read]) !== JSON.stringify([...before]);
  }

  async #read(head: HeadIngress): Promise<Files> {
    const { tls, backendTLS } = head.spec;
    const faults: string[] = [];
    const stale: string[] = [];
    // Whoever else carries it reads the Secrets in a place of its own: here it is only seen that they are others.
    const keep = async (text: string): Promise<string> =>
      classOf(head) === "builtin" ? this.#gateway.keep(text) : digestOf(text);
    const pair = async (field: string, name: string | undefined): Promise<ClientFiles | undefined> => {
      const cert = await this.#find(head, { field, name, key: "tls.crt" }, faults);
      const key = await this.#find(head, { field, name, key: "tls.key" }, faults);
      if (cert === undefined || key === undefined) return undefined;
      const wrong = wrongWithPair(cert, key);
      if (wrong !== "") faults.push(`${field}: Secret ${name}: ${wrong}`);
      const untimely = wrong === "" ? untimelyOf(cert, field === CLIENTS ? "clients" : "backends", this.#nowMs()) : "";
      if (untimely !== "") stale.push(`${field}: Secret ${name}: ${untimely}`);
      return { certFile: await keep(cert), keyFile: await keep(key) };
    };
    const client = await pair(CLIENTS, tls?.secretName);
    const own = await pair("spec.backendTLS.clientSecretName", backendTLS?.clientSecretName);
    const field = "spec.backendTLS.caSecretName";
    const authorities = await this.#find(head, { field, name: backendTLS?.caSecretName, key: "ca.crt" }, faults);
    if (authorities !== undefined && !areCertificates(authorities))
      faults.push(`${field}: Secret ${backendTLS?.caSecretName}: its ca.crt holds no certificate that can be read`);
    const caFile = authorities === undefined ? undefined : await keep(authorities);
    return {
      client,
      backend: { ...(caFile === undefined ? {} : { caFile }), ...own },
      faults: [...new Set(faults)],
      stale,
    };
  }

  /** What a Secret holds under a key; undefined when none is named, or it is not there, which is a fault. */
  async #find(
    head: HeadIngress,
    { field, name, key }: { readonly field: string; readonly name: string | undefined; readonly key: string },
    faults: string[],
  ): Promise<string | undefined> {
    if (name === undefined) return undefined;
    const { namespace = "" } = head.metadata;
    try {
      const secret = await this.#cluster.client.resource(SecretKind).find(name, { namespace });
      const value = secret?.data?.[key];
      if (value !== undefined) return Buffer.from(value, "base64").toString("utf8");
      faults.push(`${field}: ${secret === undefined ? `there is no Secret ${name}` : `Secret ${name} has no ${key}`}`);
    } catch (error) {
      faults.push(`${field}: cannot read Secret ${name}: ${messageOf(error)}`);
    }
    return undefined;
  }
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");

const goneOnWith = (fault: string): string => `${fault}; what it held before is gone on with until this is corrected`;

/** What was right before is gone on with while what is there now is wrong: nobody's requests end with a slip in a Secret. */
function keeping(before: Files | undefined, now: Files): Files {
  if (now.faults.length === 0 || before === undefined || before.faults.length > 0) return now;
  return { ...before, stale: now.faults.map(goneOnWith) };
}

/** Whether whoever carries it reads the Secrets of the hub as files: a configuration of nginx or haproxy that names one that is not there is refused whole. */
function wantsFiles(head: HeadIngress): boolean {
  const carrier = classOf(head);
  return (
    carrier === "builtin" || ((carrier === "nginx" || carrier === "haproxy") && head.spec.ingressCluster === undefined)
  );
}

/** Whether it is rendered already, and with these Secrets: the program that reads them holds what they held. */
function isRenderedWith(head: HeadIngress): boolean {
  const { rendered, inEffect } = head.status ?? {};
  if (classOf(head) === "builtin" || rendered?.class !== classOf(head) || inEffect?.spec === undefined) return false;
  return namesOf(headWith(head, inEffect.generation, inEffect.spec)) === namesOf(head);
}

/** What an earlier process gave the gateway for a HeadIngress; undefined where that is not all that it names. */
function earlierFiles({ spec: { tls, backendTLS } }: HeadIngress, { client, backend }: Carried): Files | undefined {
  const isWhole =
    (tls === undefined || client !== undefined) &&
    (backendTLS?.caSecretName === undefined || backend.caFile !== undefined) &&
    (backendTLS?.clientSecretName === undefined || backend.certFile !== undefined);
  return isWhole ? { client: tls === undefined ? undefined : client, backend, faults: [], stale: [] } : undefined;
}

/** The files in a part of the gateway's table, by route id: a listener has certificates by the hosts of the routes that they are for. */
function carriedIn({ listeners, routes }: GatewayPart): Map<string, Carried> {
  const placeOf = (listener: string, hosts: readonly string[]): string => JSON.stringify([listener, hosts]);
  const clients = new Map<string, ClientFiles>();
  for (const { name, tls } of listeners)
    for (const { hosts, certFile, keyFile } of tls?.names ?? [])
      clients.set(placeOf(name, hosts), { certFile, keyFile });
  return new Map(
    routes.map(({ id, listener, hosts = ["*"], backends, shadows = [] }) => {
      const { caFile, certFile, keyFile } = [...backends, ...shadows].find(({ tls }) => tls !== undefined)?.tls ?? {};
      const own = certFile === undefined || keyFile === undefined ? {} : { certFile, keyFile };
      const backend = { ...(caFile === undefined ? {} : { caFile }), ...own };
      return [id, { client: clients.get(placeOf(listener, hosts)), backend }];
    }),
  );
}

/** Empty: it is a certificate and its key. */
function wrongWithPair(cert: string, key: string): string {
  try {
    createSecureContext({ cert, key });
    return "";
  } catch (error) {
    if (!areCertificates(cert)) return "its tls.crt holds no certificate that can be read";
    const text = messageOf(error);
    return /mismatch/.test(text) ? "its tls.key is not the key of its tls.crt" : "its tls.key cannot be read";
  }
}

/** Why whoever is shown a certificate refuses it now; it is shown all the same, for nothing better is there. Empty: it is within its time. */
function untimelyOf(cert: string, whom: string, nowMs: number): string {
  const { validFrom, validTo } = new X509Certificate(cert);
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  if (nowMs > to) return `its certificate ended at ${timeOf(to)}, and ${whom} refuse it until another one is there`;
  return nowMs < from ? `its certificate begins at ${timeOf(from)}, and ${whom} refuse it until then` : "";
}

/** Whether a text is certificates in PEM, one or more, and all of them can be read. */
function areCertificates(text: string): boolean {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
  try {
    for (const block of blocks) new X509Certificate(block);
    return blocks.length > 0;
  } catch {
    return false;
  }
}

/** The Secrets that a HeadIngress names and whether they are kept for the gateway, as one word; undefined: none. */
function namesOf(head: HeadIngress): string | undefined {
  const { tls, backendTLS } = head.spec;
  if (tls === undefined && backendTLS === undefined) return undefined;
  const isKept = classOf(head) === "builtin";
  return JSON.stringify([isKept, tls?.secretName, backendTLS?.caSecretName, backendTLS?.clientSecretName]);
}
