import { type ApiClient, type Credentials, httpTransport } from "../kernel/client/index.js";
import type { ClusterAccess } from "../kernel/control/types.js";
import { ApiError, ArgosyError, InputError, messageOf } from "../kernel/errors/index.js";
import { asObject } from "../kernel/schema/index.js";
import {
  agentAccountOf,
  ClusterKind,
  CREDENTIAL_SECONDS,
  followedByAgent,
  type HubCredential,
  keepCredential,
  readCredential,
  requestToken,
} from "../modules/fleet/index.js";
import { type OwnedAccess, openAccess, type Surroundings } from "./access.js";

/** How often a refused credential is looked for anew in the member. */
const REREAD_MS = 5_000;
/** How often it is told that there is none that is not refused. */
const TOLD_MS = 300_000;
const RETRY_MS = 60_000;

/** What opening the hub takes. */
export interface HubEntrance extends Surroundings {
  readonly member: ClusterAccess;
  /** Of the Secret. */
  readonly namespace: string;
  /** Of the tokens asked for; default 30 days. */
  readonly lifetimeSeconds?: number;
}

/** The hub as a member's agent may enter it. */
export interface Hub {
  readonly access: OwnedAccess;
  readonly server: string;
  /** When the credential ends, in milliseconds since the epoch. */
  expiresMs(): number | undefined;
  /** Renews the credential before it ends, until the signal is aborted. */
  keep(signal: AbortSignal): Promise<void>;
}

/** Opens the hub with the credential that a member's Secret holds. Throws `InputError` where that is not let in any more. */
export async function openHub(entrance: HubEntrance): Promise<Hub> {
  const { member, namespace } = entrance;
  const credential = await readCredential(member.client, namespace);
  if (credential.cluster !== member.name)
    throw new InputError(
      `this member is registered as ${credential.cluster}, not as ${member.name}: say --cluster ${credential.cluster}`,
    );
  const keeper = new CredentialKeeper(entrance, credential);
  const access = openAccess(
    "hub",
    httpTransport({
      server: credential.server,
      ...(credential.ca === "" ? {} : { caPem: credential.ca }),
      credentials: (state) => keeper.credentials(state),
    }),
    entrance,
    followedByAgent(member.name),
  );
  await greet(access, credential, entrance).catch(async (error: unknown) => {
    await access.close();
    throw error;
  });
  return {
    access,
    server: credential.server,
    expiresMs: () => keeper.expiresMs,
    keep: (signal) => keeper.keep(access.client, signal),
  };
}

/** A hub that does not answer is waited for; one that refuses is not. */
async function greet({ client }: OwnedAccess, { cluster, server }: HubCredential, { log }: HubEntrance): Promise<void> {
  try {
    await client.resource(ClusterKind).get(cluster);
  } catch (error) {
    if (error instanceof ApiError && error.httpCode === 401) throw new InputError(describeRefused(cluster, server));
    if (error instanceof ApiError && (error.httpCode === 403 || error.httpCode === 404))
      throw new InputError(`the hub ${server} knows no cluster ${cluster} any more; ${again(cluster)}`);
    log.warn("the hub does not answer yet", { server, reason: messageOf(error) });
  }
}

const again = (cluster: string): string =>
  `\`argosy clusters token create ${cluster}\` on the hub, then register again`;

const describeRefused = (cluster: string, server: string): string =>
  `the hub ${server} refuses this member's credential: it ended, or was revoked; ${again(cluster)}`;

/** A token that is renewed when a third of its life has passed, in the hub and in the member. */
export class CredentialKeeper {
  readonly #entrance: HubEntrance;
  #credential: HubCredential;
  #readMs = Number.NEGATIVE_INFINITY;
  #toldMs = Number.NEGATIVE_INFINITY;
  /** When it was renewed here, by the member's own clock, which need not be the hub's. */
  #renewedMs: number | undefined;

  constructor(entrance: HubEntrance, credential: HubCredential) {
    this.#entrance = entrance;
    this.#credential = credential;
  }

  get expiresMs(): number | undefined {
    return lifeOf(this.#credential.token)?.untilMs;
  }

  /** For a transport. What is refused is looked for in the member: somebody may have registered it anew. */
  async credentials({ refused }: { readonly refused: boolean }): Promise<Credentials> {
    const { clock, member, namespace, log } = this.#entrance;
    if (refused && clock.monotonicMs() - this.#readMs >= REREAD_MS) {
      this.#readMs = clock.monotonicMs();
      const { token } = this.#credential;
      try {
        this.#credential = await readCredential(member.client, namespace);
        this.#renewedMs = undefined;
        this.#tellRefused(this.#credential.token !== token);
      } catch (error) {
        log.warn("the hub refuses the credential, and the member's Secret cannot be read", {
          reason: messageOf(error),
        });
      }
    }
    return { token: this.#credential.token };
  }

  /** Requests are refused many times a second: it is told once, and again while it lasts. */
  #tellRefused(anew: boolean): void {
    const { clock, log } = this.#entrance;
    const { cluster, server } = this.#credential;
    if (anew) {
      this.#toldMs = Number.NEGATIVE_INFINITY;
      log.info("the member was registered anew: its new credential is taken", { server });
    } else if (clock.monotonicMs() - this.#toldMs >= TOLD_MS) {
      this.#toldMs = clock.monotonicMs();
      const meanwhile = "what runs here goes on, and the new credential is taken without a restart";
      log.error(`${describeRefused(cluster, server)}; ${meanwhile}`);
    }
  }

  /** Never rejects. */
  async keep(hub: ApiClient, signal: AbortSignal): Promise<void> {
    const { clock } = this.#entrance;
    while (!signal.aborted) {
      const waitMs = this.#dueMs() - clock.now();
      // Timers bear 24 days.
      if (waitMs > 0) await clock.sleep(Math.min(waitMs, 86_400_000), signal).catch(() => undefined);
      if (signal.aborted || waitMs > 86_400_000) continue;
      if (!(await this.#renew(hub, signal))) await clock.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }

  #dueMs(): number {
    const life = lifeOf(this.#credential.token);
    if (life === undefined) return this.#entrance.clock.now() + RETRY_MS;
    return (this.#renewedMs ?? life.fromMs) + (life.untilMs - life.fromMs) / 3;
  }

  /** The old token is good until it ends, so whatever fails here can be tried again. */
  async #renew(hub: ApiClient, signal: AbortSignal): Promise<boolean> {
    const { member, namespace, log, lifetimeSeconds = CREDENTIAL_SECONDS } = this.#entrance;
    try {
      const { token } = await requestToken(hub, agentAccountOf(this.#credential.cluster), lifetimeSeconds, signal);
      if (lifeOf(token) === undefined) throw new ArgosyError("NoToken", "the hub's token does not say when it ends");
      const next = { ...this.#credential, token };
      await keepCredential(member.client, namespace, next);
      this.#credential = next;
      this.#renewedMs = this.#entrance.clock.now();
      log.info("the credential for the hub is renewed", { until: new Date(this.expiresMs ?? 0).toISOString() });
      return true;
    } catch (error) {
      if (!signal.aborted) log.warn("the credential for the hub is not renewed", { reason: messageOf(error) });
      return false;
    }
  }
}

/** From when until when a ServiceAccount's token is good. */
function lifeOf(token: string): { readonly fromMs: number; readonly untilMs: number } | undefined {
  try {
    const { iat, exp } = asObject(JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8")));
    return typeof iat === "number" && typeof exp === "number" ? { fromMs: iat * 1000, untilMs: exp * 1000 } : undefined;
  } catch {
    return undefined;
  }
}
