import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Container, Pod } from "../../../kernel/kinds/index.js";
import { userOf } from "../pods/limits.js";
import { signalNumber } from "../runtime/signals.js";
import { identityOf } from "./identity.js";

test("users of an image have the groups that its files name", () => {
  const root = mkdtempSync(join(tmpdir(), "argosy-root-"));
  mkdirSync(join(root, "etc"));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0::/:\napp:x:1000:1001::/:\n");
  writeFileSync(join(root, "etc/group"), "staff:x:50:app,other\nnone:x:51:\nmore:x:52:app\n");
  const container: Container = { name: "c", image: "x" };
  const pod = (securityContext: object): Pod =>
    ({ metadata: { name: "p", uid: "u" }, spec: { containers: [container], securityContext } }) as unknown as Pod;

  expect(identityOf(root, 1000)).toEqual({ gid: 1001, groups: [50, 52] });
  expect(identityOf(root, 7)).toEqual({ groups: [] });
  expect(userOf(pod({ runAsUser: 1000, fsGroup: 9 }), container, { root })).toEqual({
    uid: 1000,
    gid: 1001,
    groups: [50, 52, 9],
  });
  expect(
    userOf(pod({ runAsUser: 1000, runAsGroup: 3, supplementalGroupsPolicy: "Strict" }), container, { root }),
  ).toEqual({ uid: 1000, gid: 3 });
  rmSync(root, { recursive: true });
});

test("signals by name and number", () => {
  expect(["SIGTERM", "TERM", "15", "SIGRTMIN+3", "SIGRTMAX-1", "SIGRTMAX+1", "NOPE"].map(signalNumber)).toEqual([
    15,
    15,
    15,
    37,
    63,
    undefined,
    undefined,
  ]);
});
