import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../testing/folder.js";
import { layoutOf } from "./layout.js";
import { readSecurity } from "./security.js";

const authentication = (enabled: boolean) =>
  `apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous: {enabled: ${enabled}}\n`;
const newLayout = () => layoutOf(temporaryFolder("security"));

test("files of the data directory are found by themselves; one that is named goes before them", async () => {
  const layout = newLayout();
  expect(await readSecurity(layout, {}).then((of) => Object.keys(of("hub")))).toEqual(["limits"]);

  writeFileSync(join(layout.root, "authentication.yaml"), authentication(false));
  writeFileSync(
    join(layout.root, "audit-policy.yaml"),
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n",
  );
  const found = (await readSecurity(layout, { auditMaxAge: 3 }))("edge");
  expect(found.authentication?.anonymous).toEqual({ enabled: false });
  expect(found.audit?.log).toEqual({
    file: join(layout.logs, "audit-edge.log"),
    maxSizeMiB: 100,
    maxBackups: 10,
    maxAgeDays: 3,
  });

  const named = join(layout.root, "other.yaml");
  writeFileSync(named, authentication(true));
  const other = (await readSecurity(layout, { authenticationConfig: named }))("edge");
  expect(other.authentication?.anonymous).toEqual({ enabled: true });
});

test("anonymous requests are switched off by a word, unless a file says otherwise", async () => {
  const layout = newLayout();
  const off = (await readSecurity(layout, { anonymous: false }))("hub");
  expect(off.authentication).toEqual({ issuers: [], anonymous: { enabled: false } });

  writeFileSync(join(layout.root, "authentication.yaml"), authentication(true));
  await expect(readSecurity(layout, { anonymous: false })).rejects.toThrow("authentication.yaml: anonymous:");
});

test("a file that cannot be read is named", async () => {
  await expect(readSecurity(newLayout(), { encryptionConfig: "/nowhere/e.yaml" })).rejects.toThrow(
    "cannot read /nowhere/e.yaml",
  );
});
