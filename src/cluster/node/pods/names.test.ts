import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Pod } from "../../../kernel/kinds/index.js";
import { domainNameOf, kernelHostnameOf, shortHostnameOf } from "./names.js";
import { resolvConfOf } from "./resolv-conf.js";

function pod(spec: Record<string, unknown>, name = "web"): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "ns", uid: "u" },
    spec: { containers: [], ...spec },
  } as unknown as Pod;
}

test("host names: the pod's own, shortened, overridden, in full", () => {
  const long = `${"x".repeat(62)}-tail`;

  expect(shortHostnameOf(pod({}))).toBe("web");
  expect(shortHostnameOf(pod({ hostname: "h" }))).toBe("h");
  expect(shortHostnameOf(pod({}, long))).toBe("x".repeat(62));
  expect(shortHostnameOf(pod({ hostnameOverride: "any.name" }))).toBe("any.name");
  expect(domainNameOf(pod({ subdomain: "s" }), "cluster.local")).toBe("web.s.ns.svc.cluster.local");
  expect(domainNameOf(pod({}), "cluster.local")).toBeUndefined();
  expect(kernelHostnameOf(pod({ subdomain: "s" }), "cluster.local")).toBe("web");
  expect(kernelHostnameOf(pod({ subdomain: "s", setHostnameAsFQDN: true }), "cluster.local")).toBe(
    "web.s.ns.svc.cluster.local",
  );
});

test("the resolver: the machine's with what dnsConfig adds, or dnsConfig's alone", () => {
  const etc = mkdtempSync(join(tmpdir(), "argosy-etc-"));
  writeFileSync(join(etc, "resolv.conf"), "# by hand\nnameserver 10.0.0.1\nsearch lan\noptions ndots:1 edns0\n");
  const dnsConfig = { nameservers: ["10.0.0.2"], searches: ["a.b"], options: [{ name: "ndots", value: "3" }] };

  expect(resolvConfOf(pod({ dnsPolicy: "ClusterFirst" }), etc)).toBeUndefined();
  expect(resolvConfOf(pod({ dnsPolicy: "ClusterFirst", dnsConfig }), etc)).toBe(
    "search lan a.b\nnameserver 10.0.0.1\nnameserver 10.0.0.2\noptions ndots:3 edns0\n",
  );
  expect(resolvConfOf(pod({ dnsPolicy: "None", dnsConfig }), etc)).toBe(
    "search a.b\nnameserver 10.0.0.2\noptions ndots:3\n",
  );
  rmSync(etc, { recursive: true });
});
