import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import {
  type ApiServerOptions,
  defaultAuditFile,
  defaultAuditPolicy,
  defaultLimits,
  readAuditPolicy,
  readAuthenticationConfig,
  readEncryptionConfig,
} from "../cluster/apiserver/index.js";
import { InputError } from "../kernel/errors/index.js";
import type { Layout } from "./layout.js";

/** What whoever starts a platform says about the safety of its API servers. Files default to those in the data directory. */
export interface SecurityOptions {
  /** An AuthenticationConfiguration; absent: `authentication.yaml` of the data directory, if it is there. */
  readonly authenticationConfig?: string;
  /** False: requests without credentials are refused. */
  readonly anonymous?: boolean;
  /** An audit Policy, or `default`; absent: `audit-policy.yaml` of the data directory, if it is there; else there is no audit log. */
  readonly auditPolicy?: string;
  /** Mebibytes after which an audit log is put aside. */
  readonly auditMaxSize?: number;
  /** How many of those put aside are kept. */
  readonly auditMaxBackups?: number;
  /** How many days they are kept. */
  readonly auditMaxAge?: number;
  /** An EncryptionConfiguration; absent: `encryption.yaml` of the data directory, if it is there. */
  readonly encryptionConfig?: string;
  /** Requests a second that one user may send; 0: any number. */
  readonly requestsPerSecond?: number;
  readonly maxRequestsInflight?: number;
  readonly maxMutatingRequestsInflight?: number;
}

/** What each API server is given. */
export type ClusterSecurity = Pick<ApiServerOptions, "authentication" | "audit" | "encryption" | "limits">;

/** Reads the files once, for all clusters. Throws `InputError` with file and field. */
export async function readSecurity(
  layout: Layout,
  options: SecurityOptions,
): Promise<(cluster: string) => ClusterSecurity> {
  const fileOf = (given: string | undefined, name: string): string | undefined => {
    if (given !== undefined) return resolve(given);
    const kept = join(layout.root, name);
    return existsSync(kept) ? kept : undefined;
  };
  const authenticationFile = fileOf(options.authenticationConfig, "authentication.yaml");
  const read = authenticationFile === undefined ? undefined : await readAuthenticationConfig(authenticationFile);
  if (options.anonymous === false && read?.anonymous?.enabled === true)
    throw new InputError(`${authenticationFile}: anonymous: is enabled here, and refused by --no-anonymous`);
  const authentication = options.anonymous === false ? { issuers: [], ...read, anonymous: { enabled: false } } : read;
  const policyFile = options.auditPolicy === "default" ? undefined : fileOf(options.auditPolicy, "audit-policy.yaml");
  const policy =
    options.auditPolicy === "default"
      ? defaultAuditPolicy()
      : policyFile === undefined
        ? undefined
        : await readAuditPolicy(policyFile);
  const encryptionFile = fileOf(options.encryptionConfig, "encryption.yaml");
  const encryption = encryptionFile === undefined ? undefined : await readEncryptionConfig(encryptionFile);
  const limits = {
    requestsPerSecond: options.requestsPerSecond ?? defaultLimits.requestsPerSecond,
    readOnly: options.maxRequestsInflight ?? defaultLimits.readOnly,
    mutating: options.maxMutatingRequestsInflight ?? defaultLimits.mutating,
  };
  const kept = {
    maxSizeMiB: options.auditMaxSize ?? defaultAuditFile.maxSizeMiB,
    maxBackups: options.auditMaxBackups ?? defaultAuditFile.maxBackups,
    maxAgeDays: options.auditMaxAge ?? defaultAuditFile.maxAgeDays,
  };
  return (cluster) => ({
    limits,
    ...(authentication === undefined ? {} : { authentication }),
    ...(encryption === undefined ? {} : { encryption }),
    ...(policy === undefined
      ? {}
      : { audit: { policy, log: { ...kept, file: join(layout.logs, `audit-${cluster}.log`) } } }),
  });
}
