import type { Reader } from "./table-reader.js";

/** How requests are held before a backend that may have no pod. */
export interface ActivatorTable {
  /** What it stands before. Backends with the same name share the queue, the limits and the counts. */
  readonly name: string;
  /** Requests that may wait at once; those beyond are refused. */
  readonly maxQueue: number;
  /** How long one may wait. */
  readonly waitMs: number;
  /** Requests that one address may have at once; 0: no limit. */
  readonly concurrency: number;
  /** Names of header fields that tell tenants from each other; the first that a request has counts. */
  readonly tenantHeaders: readonly string[];
}

/** A table as a writer gives it. */
export type ActivatorInput = Partial<ActivatorTable> & Pick<ActivatorTable, "name">;

const TENANT_HEADERS = ["x-argosy-tenant", "kubeflow-userid"];
const MAX_WAIT_MS = 3_600_000;

/** Reads the activator of a backend. Throws `InputError`. */
export function parseActivator(reader: Reader): ActivatorTable {
  reader.only(["name", "maxQueue", "waitMs", "concurrency", "tenantHeaders"]);
  const whole = (name: string, [minimum, maximum]: readonly [number, number], fallback: number): number =>
    reader.number(name, { minimum, maximum, integer: true, fallback });
  const headers = reader.has("tenantHeaders") ? reader.texts("tenantHeaders") : TENANT_HEADERS;
  return {
    name: reader.text("name"),
    maxQueue: whole("maxQueue", [1, 100_000], 10_000),
    waitMs: whole("waitMs", [1, MAX_WAIT_MS], 300_000),
    concurrency: whole("concurrency", [0, 100_000], 0),
    tenantHeaders: headers.map((name) => name.toLowerCase()),
  };
}
