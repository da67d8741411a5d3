import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Clock } from "../clock/index.js";
import { InputError, messageOf } from "../errors/index.js";
import type { JsonObject } from "../kinds/index.js";
import { isObject } from "../schema/index.js";
import type { Credentials } from "./http-transport.js";
import { parseJson } from "./wire.unsafe.js";

type CredentialSource = (state: { readonly refused: boolean }) => Promise<Credentials>;

/** Tokens in files are renewed well before they expire; reading them each minute is often enough. */
const fileRereadMs = 60_000;
/** A plugin's credential is renewed a little before its end. */
const renewBeforeMs = 10_000;
const pluginTimeoutMs = 60_000;
const maxPluginOutputBytes = 1024 * 1024;

/** A bearer token in a file that someone renews. */
export function fileCredentials(file: string, base: Credentials, clock: Clock): CredentialSource {
  let cached: { readonly token: string; readonly readAtMs: number } | undefined;
  return async ({ refused }) => {
    const nowMs = clock.now();
    if (cached === undefined || refused || nowMs - cached.readAtMs > fileRereadMs) {
      const token = (await readFile(file, "utf8")).trim();
      cached = { token, readAtMs: nowMs };
    }
    return { ...base, token: cached.token };
  };
}

interface Plugin {
  readonly command: string;
  readonly args: readonly string[];
  readonly apiVersion: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly hint: string;
}

function readPlugin(exec: JsonObject, folder: string): Plugin {
  const { command, args, apiVersion, env, installHint } = exec;
  if (typeof command !== "string" || command === "") throw new InputError("kubeconfig: user.exec has no command");
  const environment: Record<string, string> = {};
  for (const entry of Array.isArray(env) ? env : []) {
    if (isObject(entry) && typeof entry["name"] === "string")
      environment[entry["name"]] = typeof entry["value"] === "string" ? entry["value"] : "";
  }
  return {
    // As upstream: a bare name is searched in PATH, anything with a slash is relative to the kubeconfig.
    command: command.includes("/") ? resolve(folder, command) : command,
    args: Array.isArray(args) ? args.map(String) : [],
    apiVersion: typeof apiVersion === "string" ? apiVersion : "client.authentication.k8s.io/v1",
    environment,
    hint: typeof installHint === "string" ? ` (${installHint.trim()})` : "",
  };
}

function runPlugin(plugin: Plugin): Promise<string> {
  const info = JSON.stringify({ apiVersion: plugin.apiVersion, kind: "ExecCredential", spec: { interactive: false } });
  return new Promise((done, fail) => {
    const options = {
      env: { ...process.env, ...plugin.environment, KUBERNETES_EXEC_INFO: info },
      timeout: pluginTimeoutMs,
      maxBuffer: maxPluginOutputBytes,
    };
    execFile(plugin.command, [...plugin.args], options, (error, stdout) => {
      if (error === null) done(stdout);
      else
        fail(
          new InputError(`credential plugin ${plugin.command} failed: ${messageOf(error)}${plugin.hint}`, {
            cause: error,
          }),
        );
    });
  });
}

/** Credentials from a client.authentication.k8s.io plugin, kept until they expire or are refused. */
export function execCredentials(exec: JsonObject, folder: string, clock: Clock): CredentialSource {
  const plugin = readPlugin(exec, folder);
  let cached: { readonly credentials: Credentials; readonly untilMs: number } | undefined;
  let running: Promise<Credentials> | undefined;
  const refresh = async (): Promise<Credentials> => {
    const answer = parseJson(await runPlugin(plugin), `credential plugin ${plugin.command}`);
    const status = isObject(answer) ? answer["status"] : undefined;
    if (!isObject(status)) throw new InputError(`credential plugin ${plugin.command} answered without a status`);
    const { token, clientCertificateData, clientKeyData, expirationTimestamp } = status;
    const credentials: Credentials = {
      ...(typeof token === "string" ? { token } : {}),
      ...(typeof clientCertificateData === "string" ? { clientCertPem: clientCertificateData } : {}),
      ...(typeof clientKeyData === "string" ? { clientKeyPem: clientKeyData } : {}),
    };
    const expiresMs = typeof expirationTimestamp === "string" ? Date.parse(expirationTimestamp) : Number.NaN;
    cached = { credentials, untilMs: Number.isNaN(expiresMs) ? Number.POSITIVE_INFINITY : expiresMs - renewBeforeMs };
    return credentials;
  };
  return ({ refused }) => {
    if (cached !== undefined && !refused && clock.now() < cached.untilMs) return Promise.resolve(cached.credentials);
    running ??= refresh().finally(() => {
      running = undefined;
    });
    return running;
  };
}
