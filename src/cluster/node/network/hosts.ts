import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock, Timer } from "../../../kernel/clock/index.js";
import type { InformerSet } from "../../../kernel/control/index.js";
import {
  type EndpointSlice,
  EndpointSliceKind,
  type Pod,
  type Service,
  ServiceKind,
} from "../../../kernel/kinds/index.js";
import { domainNameOf, shortHostnameOf } from "../pods/names.js";

export interface HostsFilesOptions {
  readonly informers: InformerSet;
  readonly clock: Clock;
  readonly clusterDomain: string;
}

interface PodEntry {
  readonly path: string;
  readonly namespace: string;
  readonly head: string;
}

const collectMs = 20;
const serviceNameLabel = "kubernetes.io/service-name";

/**
 * The /etc/hosts of every pod: its own name and the names of all services, written in place whenever services or their
 * endpoints change, so running programs see it at their next look-up.
 */
export class HostsFiles {
  readonly #options: HostsFilesOptions;
  readonly #pods = new Map<string, PodEntry>();
  readonly #stops: (() => void)[] = [];
  #timer: Timer | undefined;

  constructor(options: HostsFilesOptions) {
    this.#options = options;
  }

  start(): void {
    const changed = (): void => this.#later();
    const { informers } = this.#options;
    this.#stops.push(informers.informer(ServiceKind).onChange(changed));
    this.#stops.push(informers.informer(EndpointSliceKind).onChange(changed));
  }

  close(): void {
    this.#timer?.cancel();
    for (const stop of this.#stops) stop();
  }

  /** Writes the file of a pod and keeps it up to date. */
  add(pod: Pod, podFolder: string, podIp: string): void {
    const path = join(podFolder, "hosts");
    const namespace = pod.metadata.namespace ?? "default";
    this.#pods.set(pod.metadata.uid, { path, namespace, head: this.#head(pod, podIp) });
    if (!existsSync(dirname(path))) mkdirSync(dirname(path), { recursive: true });
    this.#write(pod.metadata.uid, new Map());
  }

  remove(uid: string): void {
    this.#pods.delete(uid);
  }

  pathOf(uid: string): string | undefined {
    return this.#pods.get(uid)?.path;
  }

  #head(pod: Pod, podIp: string): string {
    const hostname = shortHostnameOf(pod);
    const full = domainNameOf(pod, this.#options.clusterDomain);
    const own = full === undefined ? hostname : `${full} ${hostname}`;
    const aliases = (pod.spec.hostAliases ?? []).map((alias) => `${alias.ip} ${(alias.hostnames ?? []).join(" ")}`);
    return ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", `${podIp} ${own}`, ...aliases].join(
      "\n",
    );
  }

  #later(): void {
    this.#timer ??= this.#options.clock.setTimer(collectMs, () => {
      this.#timer = undefined;
      const services = new Map<string, string>();
      for (const uid of this.#pods.keys()) this.#write(uid, services);
    });
  }

  #write(uid: string, texts: Map<string, string>): void {
    const pod = this.#pods.get(uid);
    if (pod === undefined) return;
    const services = texts.get(pod.namespace) ?? this.#servicesFor(pod.namespace);
    texts.set(pod.namespace, services);
    const text = `${pod.head}\n${services}`;
    try {
      if (existsSync(pod.path) && readFileSync(pod.path, "utf8") === text) return;
      // In place: a bind mount shows this very file, not its name.
      writeFileSync(pod.path, text, { mode: 0o644 });
    } catch {
      // The pod's folder is being removed.
      this.#pods.delete(uid);
    }
  }

  #servicesFor(namespace: string): string {
    const services = this.#options.informers.informer(ServiceKind).list();
    return services
      .flatMap((service) => this.#linesOf(service, service.metadata.namespace === namespace))
      .map((line) => `${line}\n`)
      .join("");
  }

  #linesOf(service: Service, isNear: boolean): string[] {
    const { name, namespace = "default" } = service.metadata;
    const near = isNear ? [name] : [];
    const names = [
      ...near,
      `${name}.${namespace}`,
      `${name}.${namespace}.svc`,
      `${name}.${namespace}.svc.${this.#options.clusterDomain}`,
    ].join(" ");
    const { clusterIP, type, externalName } = service.spec;
    if (type === "ExternalName") return /^[\d.]+$/.test(externalName ?? "") ? [`${externalName} ${names}`] : [];
    if (clusterIP !== undefined && clusterIP !== "" && clusterIP !== "None") return [`${clusterIP} ${names}`];
    if (clusterIP !== "None") return [];
    return this.#headless(service, names);
  }

  /** A headless service is its ready pods, and each of its named pods by itself. */
  #headless(service: Service, names: string): string[] {
    const { name, namespace = "default" } = service.metadata;
    const slices = this.#options.informers
      .informer(EndpointSliceKind)
      .list(namespace)
      .filter((slice: EndpointSlice) => slice.metadata.labels?.[serviceNameLabel] === name);
    return slices.flatMap((slice) =>
      (slice.endpoints ?? []).flatMap((endpoint) => {
        const isReady = endpoint.conditions?.ready !== false || service.spec.publishNotReadyAddresses === true;
        const address = endpoint.addresses[0];
        if (!isReady || address === undefined) return [];
        const base = `${name}.${namespace}`;
        const own =
          endpoint.hostname === undefined
            ? []
            : [
                `${endpoint.hostname}.${name}`,
                `${endpoint.hostname}.${base}.svc`,
                `${endpoint.hostname}.${base}.svc.${this.#options.clusterDomain}`,
              ];
        return [`${address} ${[names, ...own].join(" ")}`];
      }),
    );
  }
}
