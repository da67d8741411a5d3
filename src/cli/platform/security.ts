import { type Command, InvalidArgumentError } from "commander";
import type { SecurityOptions } from "../../platform/index.js";

/** The options of `up` about who may do what, and what is noted of it, as commander hands them over. */
export interface SecurityFlags {
  readonly authenticationConfig?: string;
  readonly anonymous?: boolean;
  readonly auditPolicy?: string;
  readonly auditLogMaxsize?: number;
  readonly auditLogMaxbackup?: number;
  readonly auditLogMaxage?: number;
  readonly encryptionConfig?: string;
  readonly requestsPerSecond?: number;
  readonly maxRequestsInflight?: number;
  readonly maxMutatingRequestsInflight?: number;
}

/** Adds them to a command. */
export function withSecurity<T extends Command>(command: T): T {
  command
    .option(
      "--authentication-config <file>",
      "whose tokens count: an AuthenticationConfiguration (default: authentication.yaml in the data directory)",
    )
    .option("--no-anonymous", "refuse requests without credentials, also of health and version")
    .option(
      "--audit-policy <file>",
      "what is noted in DIR/logs/audit-CLUSTER.log: an audit Policy, or `default` (default: audit-policy.yaml in the data directory)",
    )
    .option("--audit-log-maxsize <MiB>", "how large an audit log grows before it is put aside (default: 100)", count)
    .option("--audit-log-maxbackup <n>", "how many are kept; 0: all (default: 10)", count)
    .option("--audit-log-maxage <days>", "how long they are kept; 0: for ever (default: 30)", count)
    .option(
      "--encryption-config <file>",
      "what is encrypted on the disk: an EncryptionConfiguration (default: encryption.yaml in the data directory)",
    )
    .option("--requests-per-second <n>", "how many one user may send; 0: any number (default: 5000)", count)
    .option("--max-requests-inflight <n>", "reading requests under way at once; 0: any number (default: 800)", count)
    .option(
      "--max-mutating-requests-inflight <n>",
      "writing requests under way at once; 0: any number (default: 400)",
      count,
    );
  return command;
}

/** What the platform is told. */
export function securityOf(flags: SecurityFlags): SecurityOptions {
  return defined({
    authenticationConfig: flags.authenticationConfig,
    anonymous: flags.anonymous,
    auditPolicy: flags.auditPolicy,
    auditMaxSize: flags.auditLogMaxsize,
    auditMaxBackups: flags.auditLogMaxbackup,
    auditMaxAge: flags.auditLogMaxage,
    encryptionConfig: flags.encryptionConfig,
    requestsPerSecond: flags.requestsPerSecond,
    maxRequestsInflight: flags.maxRequestsInflight,
    maxMutatingRequestsInflight: flags.maxMutatingRequestsInflight,
  });
}

/** The same flags for another process. */
export function securityArguments(flags: SecurityFlags): string[] {
  const named: [string, string | number | undefined][] = [
    ["--authentication-config", flags.authenticationConfig],
    ["--audit-policy", flags.auditPolicy],
    ["--audit-log-maxsize", flags.auditLogMaxsize],
    ["--audit-log-maxbackup", flags.auditLogMaxbackup],
    ["--audit-log-maxage", flags.auditLogMaxage],
    ["--encryption-config", flags.encryptionConfig],
    ["--requests-per-second", flags.requestsPerSecond],
    ["--max-requests-inflight", flags.maxRequestsInflight],
    ["--max-mutating-requests-inflight", flags.maxMutatingRequestsInflight],
  ];
  const values = named.flatMap(([name, value]) => (value === undefined ? [] : [name, String(value)]));
  return flags.anonymous === false ? [...values, "--no-anonymous"] : values;
}

function count(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("A whole number is wanted.");
  return Number(text);
}

/** Without what is not given. */
function defined<T extends object>(values: { readonly [K in keyof T]: T[K] | undefined }): Partial<T>;
function defined(values: object): object {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
