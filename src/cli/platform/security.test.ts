import { Command } from "commander";
import { expect, test } from "vitest";
import { type SecurityFlags, securityArguments, securityOf, withSecurity } from "./security.js";

function parse(...words: string[]): SecurityFlags {
  const command = withSecurity(new Command("up"))
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  return command.parse(words, { from: "user" }).opts();
}

test("nothing said is nothing told, but for what holds anyway", () => {
  expect(securityOf(parse())).toEqual({ anonymous: true });
  expect(securityArguments(parse())).toEqual([]);
});

test("what is said reaches the platform, and another process in the same words", () => {
  const words = [
    "--authentication-config",
    "a.yaml",
    "--no-anonymous",
    "--audit-policy",
    "default",
    "--audit-log-maxsize",
    "5",
    "--audit-log-maxbackup",
    "0",
    "--audit-log-maxage",
    "7",
    "--encryption-config",
    "e.yaml",
    "--requests-per-second",
    "0",
    "--max-requests-inflight",
    "10",
    "--max-mutating-requests-inflight",
    "5",
  ];
  const flags = parse(...words);

  expect(securityOf(flags)).toEqual({
    authenticationConfig: "a.yaml",
    anonymous: false,
    auditPolicy: "default",
    auditMaxSize: 5,
    auditMaxBackups: 0,
    auditMaxAge: 7,
    encryptionConfig: "e.yaml",
    requestsPerSecond: 0,
    maxRequestsInflight: 10,
    maxMutatingRequestsInflight: 5,
  });
  expect(securityOf(parse(...securityArguments(flags)))).toEqual(securityOf(flags));
});

test.each(["-1", "1.5", "x", "", "99999999999"])("%j is no number of requests", (text) => {
  expect(() => parse("--requests-per-second", text)).toThrow("A whole number is wanted");
});
