import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createServer } from "node:tls";
import { afterEach, expect, test, vi } from "vitest";
import { seededRandom, systemClock, virtualClock } from "../clock/index.js";
import { silentLogger } from "../log/index.js";
import {
  constantTimeEqual,
  keepCertificate,
  keepToken,
  loadAuthority,
  needsRenewal,
  openAuthority,
  openServiceAccountTokens,
} from "./index.js";

const made: string[] = [];
const folder = async () => {
  const path = await mkdtemp(join(tmpdir(), "identity-"));
  made.push(path);
  return path;
};
afterEach(async () => {
  for (const path of made.splice(0)) await rm(path, { recursive: true, force: true });
});

test("a server and a client with certificates of one authority trust each other", async () => {
  const authority = await openAuthority({ clock: systemClock, name: "argosy-test" });
  const served = await authority.issueServer(["localhost", "127.0.0.1", "::1", "kubernetes.default.svc"]);
  const client = await authority.issueClient('alice, o="x"', ["devs", "système:équipe"]);
  const server = createServer(
    { key: served.keyPem, cert: served.certPem, ca: authority.caPem, requestCert: true, rejectUnauthorized: true },
    (socket) => {
      const { subject } = socket.getPeerCertificate();
      socket.end(JSON.stringify(subject));
    },
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;

  const socket = connect({ host: "127.0.0.1", port, ca: authority.caPem, key: client.keyPem, cert: client.certPem });
  let text = "";
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  await once(socket, "close");
  server.close();

  expect(JSON.parse(text)).toEqual({ CN: 'alice, o="x"', O: ["devs", "système:équipe"] });
});

test("certificates name their IPv6 addresses, say what they are for and are signed by the authority", async () => {
  const clock = virtualClock(Date.parse("2049-06-01T00:00:00Z"));
  const authority = await openAuthority({ clock, name: "far-future" });

  const issued = await authority.issueServer(["fd00::1:0:7", "a.example"]);

  const certificate = new X509Certificate(issued.certPem);
  const ca = new X509Certificate(authority.caPem);
  expect(certificate.checkIP("fd00::1:0:7")).toBe("fd00::1:0:7");
  expect(certificate.checkIP("fd00::1:0:8")).toBeUndefined();
  expect(certificate.checkHost("a.example")).toBe("a.example");
  expect(certificate.verify(ca.publicKey)).toBe(true);
  expect(certificate.checkIssued(ca)).toBe(true);
  expect([ca.ca, certificate.ca]).toEqual([true, false]);
  expect(certificate.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1"]);
  expect(Date.parse(certificate.validTo)).toBe(Date.parse("2050-06-01T00:00:00Z"));
});

test("an authority is kept with rights for its owner only, and found again", async () => {
  const directory = await folder();

  const first = await openAuthority({ clock: systemClock, name: "kept", directory });
  const second = await openAuthority({ clock: systemClock, name: "kept", directory });

  expect(second.fingerprint).toBe(first.fingerprint);
  for (const name of ["ca.crt", "ca.key"]) expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
  const issued = await second.issueServer(["x"]);
  expect(new X509Certificate(issued.certPem).verify(new X509Certificate(first.caPem).publicKey)).toBe(true);
});

test("authority files that cannot be used are named in the error", async () => {
  const directory = await folder();
  await openAuthority({ clock: systemClock, name: "one", directory });
  await writeFile(join(directory, "ca.key"), "rubbish");
  await expect(loadAuthority(directory, systemClock)).rejects.toThrow(directory);
  await rm(join(directory, "ca.key"));
  await expect(loadAuthority(directory, systemClock)).rejects.toThrow("ca.key is missing");
  const other = await folder();
  await openAuthority({ clock: systemClock, name: "two", directory: other });
  await writeFile(join(directory, "ca.key"), await readFile(join(other, "ca.key")));
  await expect(loadAuthority(directory, systemClock)).rejects.toThrow("do not belong together");
});

test("a kept certificate survives a restart and renews itself before it ends", async () => {
  const file = join(await folder(), "server.pem");
  const clock = virtualClock(Date.parse("2030-01-01T00:00:00Z"));
  const authority = await openAuthority({ clock, name: "renewing" });
  const renewed: string[] = [];
  const options = {
    authority,
    clock,
    log: silentLogger,
    file,
    subject: { use: "server", names: ["a"] },
    onRenewed: ({ certPem }: { certPem: string }) => renewed.push(certPem),
  } as const;

  const first = await keepCertificate(options);
  const issued = first.current.certPem;
  first.close();
  const second = await keepCertificate(options);
  expect(second.current.certPem).toBe(issued);
  const renamed = await keepCertificate({ ...options, subject: { use: "server", names: ["a", "b"] } });
  expect(renamed.current.certPem).not.toBe(issued);
  renamed.close();
  second.close();

  const long = await keepCertificate(options);
  await clock.advance(250 * 86_400_000);
  await vi.waitFor(() => expect(renewed).toEqual([long.current.certPem]));
  long.close();
  expect(needsRenewal(issued, clock.now() - 250 * 86_400_000)).toBe(false);
  expect(needsRenewal(issued, clock.now())).toBe(true);
});

test("tokens carry upstream's claims and end when they say", async () => {
  const clock = virtualClock(Date.parse("2030-01-01T00:00:00Z"));
  const tokens = await openServiceAccountTokens({ clock, random: seededRandom(1), issuer: "https://issuer" });

  const { token } = await tokens.issue({
    namespace: "ns",
    serviceAccount: { name: "bot", uid: "u1" },
    pod: { name: "p", uid: "u2" },
    node: { name: "n", uid: "u3" },
    audiences: ["me"],
    lifetimeSeconds: 600,
    warnAfterSeconds: 300,
  });

  const payload = JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());
  expect(payload).toMatchObject({
    aud: ["me"],
    iss: "https://issuer",
    sub: "system:serviceaccount:ns:bot",
    exp: payload.iat + 600,
    "kubernetes.io": {
      namespace: "ns",
      serviceaccount: { name: "bot", uid: "u1" },
      pod: { name: "p", uid: "u2" },
      node: { name: "n", uid: "u3" },
      warnafter: payload.iat + 300,
    },
  });
  expect(await tokens.verify(token)).toMatchObject({ namespace: "ns", audiences: ["me"], pod: { name: "p" } });
  await clock.advance(601_000);
  expect(await tokens.verify(token)).toBeUndefined();
});

test("tokens of another key, altered ones, unsigned ones and rubbish are refused", async () => {
  const clock = virtualClock(Date.parse("2030-01-01T00:00:00Z"));
  const common = { clock, random: seededRandom(1), issuer: "https://issuer" };
  const [ours, theirs] = [await openServiceAccountTokens(common), await openServiceAccountTokens(common)];
  const draft = { namespace: "n", serviceAccount: { name: "s", uid: "u" }, audiences: ["a"], lifetimeSeconds: 600 };
  const { token } = await ours.issue(draft);
  const [header = "", payload = "", signature = ""] = token.split(".");
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const altered = encode({ ...JSON.parse(Buffer.from(payload, "base64url").toString()), sub: "system:admin" });

  expect(await ours.verify(token)).toBeDefined();
  for (const bad of [
    (await theirs.issue(draft)).token,
    `${header}.${altered}.${signature}`,
    `${encode({ alg: "none" })}.${payload}.`,
    `${encode({ alg: "HS256" })}.${payload}.${signature}`,
    "rubbish",
    "a.b.c",
    "",
    "x".repeat(1_000_000),
  ])
    expect(await ours.verify(bad)).toBeUndefined();
});

test("a signing key is kept, and RS256 can be asked for", async () => {
  const file = join(await folder(), "sa.key");
  const options = { clock: systemClock, random: seededRandom(1), issuer: "i", file, algorithm: "RS256" } as const;
  const draft = { namespace: "n", serviceAccount: { name: "s", uid: "u" }, audiences: ["a"], lifetimeSeconds: 600 };

  const { token } = await (await openServiceAccountTokens(options)).issue(draft);

  expect(JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).alg).toBe("RS256");
  expect(await (await openServiceAccountTokens(options)).verify(token)).toBeDefined();
  await writeFile(file, "rubbish");
  await expect(openServiceAccountTokens(options)).rejects.toThrow(file);
});

test("an agent's token is made once and never read from a file that holds something else", async () => {
  const file = join(await folder(), "deep", "token");

  const token = await keepToken(file);

  expect(await keepToken(file)).toBe(token);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await writeFile(file, "short");
  await expect(keepToken(file)).rejects.toThrow("holds no token");
  expect([constantTimeEqual("a", "a"), constantTimeEqual("a", "b"), constantTimeEqual("a", "ab")]).toEqual([
    true,
    false,
    false,
  ]);
});
