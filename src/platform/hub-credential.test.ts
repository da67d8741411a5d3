import { expect, onTestFinished, test, vi } from "vitest";
import { virtualClock } from "../kernel/clock/index.js";
import { SecretKind } from "../kernel/kinds/index.js";
import { createLogger, silentLogger } from "../kernel/log/index.js";
import {
  agentAccountOf,
  ClusterKind,
  enrolCluster,
  HUB_SECRET,
  keepCredential,
  readCredential,
  requestToken,
  revokeCluster,
  WorkKind,
} from "../modules/fleet/index.js";
import { startTestCluster } from "../testing/index.js";
import { unless } from "../testing/unless.js";
import { CredentialKeeper, openHub } from "./hub-credential.js";

const embedded = unless(
  process.env["ARGOSY_TEST_REAL"] === undefined ? undefined : "virtual time is the embedded server's",
);
const namespace = "argosy-system";

async function start() {
  const clock = virtualClock();
  const hub = await startTestCluster({ name: "hub", clock, kinds: [ClusterKind, WorkKind] });
  const member = await startTestCluster({ name: "paris", clock });
  onTestFinished(async () => {
    await hub.close();
    await member.close();
  });
  await enrolCluster(hub.client, { name: "paris" });
  const { token } = await requestToken(hub.client, agentAccountOf("paris"), 3600);
  const { random } = hub;
  const credential = { cluster: "paris", server: "https://hub.example:6443", ca: "", token };
  await member.client.json("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  await keepCredential(member.client, namespace, credential);
  const entrance = { clock, random, log: silentLogger, member, namespace, lifetimeSeconds: 3600 };
  return { clock, hub, member, credential, entrance };
}

embedded("a credential is renewed when a third of its life has passed, in the member's Secret too", async () => {
  const { clock, hub, member, credential, entrance } = await start();
  const keeper = new CredentialKeeper(entrance, credential);
  const firstEnd = keeper.expiresMs ?? 0;
  expect(firstEnd - clock.now()).toBe(3_600_000);
  const stop = new AbortController();
  const kept = keeper.keep(hub.as(credential.token).client, stop.signal);
  await clock.advance(1_190_000);
  expect((await readCredential(member.client, namespace)).token).toBe(credential.token);
  await clock.advance(20_000);
  // Signing is done by threads, which virtual time does not wait for.
  const token = await vi.waitFor(async () => {
    const now = await keeper.credentials({ refused: false });
    expect(now.token).not.toBe(credential.token);
    return now.token ?? "";
  });
  expect((await readCredential(member.client, namespace)).token).toBe(token);
  expect((keeper.expiresMs ?? 0) - firstEnd).toBeGreaterThan(1_100_000);
  for (const good of [token, credential.token])
    expect((await hub.as(good).client.resource(ClusterKind).get("paris")).metadata.name).toBe("paris");
  stop.abort();
  await clock.advance(0);
  await kept;
});

embedded("a hub that refuses is tried again; who is registered anew goes on without a restart", async () => {
  const { clock, hub, member, credential, entrance } = await start();
  const keeper = new CredentialKeeper(entrance, credential);
  await revokeCluster(hub.client, "paris");
  const stop = new AbortController();
  const kept = keeper.keep(hub.as(credential.token).client, stop.signal);
  await clock.advance(1_300_000);
  expect((await keeper.credentials({ refused: true })).token).toBe(credential.token);
  await enrolCluster(hub.client, { name: "paris" });
  const { token } = await requestToken(hub.client, agentAccountOf("paris"), 3600);
  await keepCredential(member.client, namespace, { ...credential, token });
  expect((await keeper.credentials({ refused: true })).token, "not asked for so soon").toBe(credential.token);
  await clock.advance(10_000);
  expect((await keeper.credentials({ refused: true })).token).toBe(token);
  stop.abort();
  await clock.advance(0);
  await kept;
});

embedded(
  "while the hub refuses, the agent tells what to do, not at each request, and when it is let in anew",
  async () => {
    const { clock, hub, member, credential, entrance } = await start();
    const lines: string[] = [];
    const log = createLogger({ clock, write: (line) => lines.push(line) });
    const keeper = new CredentialKeeper({ ...entrance, log }, credential);
    const told = (text: string) => lines.filter((line) => line.includes(text)).length;
    const refused = async (seconds: number) => {
      for (let at = 0; at < seconds; at += 10) {
        await clock.advance(10_000);
        await keeper.credentials({ refused: true });
      }
    };
    await refused(60);
    expect(lines).toHaveLength(1);
    const what = "the hub https://hub.example:6443 refuses this member's credential: it ended, or was revoked";
    expect(lines[0]).toMatch(`${what}; \`argosy clusters token create paris\` on the hub, then register again; `);
    expect(lines[0]).toContain(`"level":"error"`);
    await refused(300);
    expect(told(what), "it lasts").toBe(2);
    const { token } = await requestToken(hub.client, agentAccountOf("paris"), 3600);
    await keepCredential(member.client, namespace, { ...credential, token });
    await refused(60);
    expect(told("registered anew")).toBe(1);
    expect(told(what), "that one is refused, too").toBe(3);
  },
);

test("a member that is not registered, or under another name, is told so", async () => {
  const member = await startTestCluster({ name: "paris" });
  onTestFinished(() => member.close());
  const entrance = { clock: member.clock, random: member.random, log: silentLogger, member, namespace };
  await expect(openHub(entrance)).rejects.toThrow(/no Secret argosy-system\/argosy-hub: `argosy clusters register`/);
  await member.client.json("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  const credential = { cluster: "lyon", server: "https://127.0.0.1:1", ca: "", token: "t" };
  await keepCredential(member.client, namespace, credential);
  await expect(openHub(entrance)).rejects.toThrow(/registered as lyon, not as paris: say --cluster lyon/);
  await member.client.resource(SecretKind).patch(HUB_SECRET, "merge", { data: { token: null } }, { namespace });
  await expect(openHub(entrance)).rejects.toThrow(/lacks server, token or cluster: register again/);
});
