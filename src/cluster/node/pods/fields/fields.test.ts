import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { assetPath, kubernetesVersion, packageRoot } from "../../../../kernel/assets/index.js";
import type { Pod, PodSpec } from "../../../../kernel/kinds/index.js";
import { renderFieldTable } from "./document.js";
import { fieldRules, findingsOf, ignoredText, refusalOf } from "./evaluate.js";
import type { Abilities } from "./types.js";

interface Definition {
  readonly $ref?: string;
  readonly allOf?: readonly Definition[];
  readonly items?: Definition;
  readonly additionalProperties?: Definition;
  readonly properties?: Readonly<Record<string, Definition>>;
}

const reference: { kubernetes: string; schemas: Record<string, Definition> } = JSON.parse(
  readFileSync(assetPath("kubernetes-1.34", "schemas.json"), "utf8"),
);
const { schemas } = reference;

function definitionOf(part: Definition): Definition {
  const name = (part.$ref ?? part.allOf?.[0]?.$ref)?.split("/").at(-1);
  return name === undefined ? part : (schemas[name] ?? {});
}

/** Every field of a pod's spec that has no fields of its own, as the table writes paths. */
function leavesOf(part: Definition, path: string): string[] {
  const definition = definitionOf(part);
  if (definition.items !== undefined) return leavesOf(definition.items, `${path}[]`);
  const properties = Object.entries(definition.properties ?? {});
  if (properties.length === 0) return [path];
  return properties.flatMap(([name, each]) => leavesOf(each, path === "" ? name : `${path}.${name}`));
}

const leaves = [
  ...new Set(
    leavesOf(schemas["io.k8s.api.core.v1.PodSpec"] ?? {}, "").map((path) =>
      path.replace(/^(init|ephemeral)Containers\[\]/, "containers[]"),
    ),
  ),
];
const isBelow = (path: string, field: string): boolean =>
  path === field || path.startsWith(`${field}.`) || path.startsWith(`${field}[]`);

const root: Abilities = { mode: "root", ownNetwork: true, limits: new Set(["cpu", "memory", "pids"]) };
const user: Abilities = { mode: "user", ownNetwork: false, limits: new Set() };

function pod(spec: Partial<PodSpec> & Record<string, unknown>): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", namespace: "default", uid: "u", resourceVersion: "1", creationTimestamp: "" },
    spec: { containers: [{ name: "main", image: "x" }], ...spec },
  } as Pod;
}

const container = (more: object): Partial<PodSpec> => ({ containers: [{ name: "main", image: "x", ...more }] });

test("every field of Kubernetes' schema is carried out, refused or told as left out", () => {
  const unknown = leaves.filter((leaf) => !fieldRules.some((rule) => isBelow(leaf, rule.field)));

  expect(reference.kubernetes).toBe(kubernetesVersion);
  expect(leaves.length).toBeGreaterThan(400);
  expect(unknown).toEqual([]);
});

test("every rule is about a field that Kubernetes' schema has, and each field has one rule without a condition", () => {
  const strange = fieldRules.filter(
    (rule) => !leaves.some((leaf) => isBelow(leaf, rule.field.replace(/\.limits\..*$/, ".limits"))),
  );
  const conditional = fieldRules.filter((rule) => rule.value !== undefined);
  const open = conditional.filter(
    (rule) => !fieldRules.some((other) => other.value === undefined && isBelow(rule.field, other.field)),
  );
  const always = fieldRules.filter((rule) => rule.value === undefined).map((rule) => rule.field);

  expect(strange).toEqual([]);
  expect(open).toEqual([]);
  expect(new Set(always).size).toBe(always.length);
});

test("docs/pods.md has the table as it is", () => {
  const document = readFileSync(join(packageRoot(), "docs", "pods.md"), "utf8");

  expect(document.includes(renderFieldTable()), "run `node scripts/pods-reference.mjs`").toBe(true);
});

test("a pod that asks for nothing unusual has no findings", () => {
  const plain = pod({
    ...container({ ports: [{ containerPort: 80 }], tty: true, stdin: true, securityContext: { procMount: "Default" } }),
    hostPID: true,
    dnsPolicy: "None",
    securityContext: {
      fsGroup: 5,
      supplementalGroups: [7],
      sysctls: [{ name: "net.ipv4.tcp_syncookies", value: "1" }],
    },
    volumes: [{ name: "v", emptyDir: { medium: "Memory" } }],
    imagePullSecrets: [],
  });

  expect(findingsOf(plain, root)).toEqual([]);
});

const refusals: readonly [string, Record<string, unknown>, string][] = [
  ["shareProcessNamespace", { shareProcessNamespace: true }, "spec.shareProcessNamespace"],
  ["runtimeClassName", { runtimeClassName: "gvisor" }, "spec.runtimeClassName"],
  ["hostUsers", { hostUsers: false }, "spec.hostUsers"],
  ["a csi volume", { volumes: [{ name: "v", csi: { driver: "d" } }] }, "spec.volumes[v].csi"],
  [
    "huge pages",
    container({ resources: { limits: { "hugepages-2Mi": "4Mi" } } }),
    "spec.containers[main].resources.limits",
  ],
  [
    "huge pages as medium",
    { volumes: [{ name: "v", emptyDir: { medium: "HugePages-2Mi" } }] },
    "spec.volumes[v].emptyDir.medium",
  ],
  [
    "a block device",
    container({ volumeDevices: [{ name: "v", devicePath: "/dev/x" }] }),
    "spec.containers[main].volumeDevices",
  ],
  [
    "an init container",
    { initContainers: [{ name: "i", image: "x", restartPolicyRules: [{ action: "Restart" }] }] },
    "spec.initContainers[i].restartPolicyRules",
  ],
];

test.each(refusals)("%s is refused, and the message says what to do", (_, spec, path) => {
  const refusal = refusalOf(findingsOf(pod(spec), root));

  expect(refusal?.message.startsWith(`${path}: `)).toBe(true);
  expect(refusal?.rejection).toBeUndefined();
});

const rejections: readonly [string, Record<string, unknown>, string][] = [
  ["another system", { os: { name: "windows" } }, "PodOSNotSupported"],
  ["an unsafe sysctl", { securityContext: { sysctls: [{ name: "kernel.msgmax", value: "1" }] } }, "SysctlForbidden"],
  [
    "a sysctl of the machine's network",
    { hostNetwork: true, securityContext: { sysctls: [{ name: "net/ipv4/tcp_syncookies", value: "1" }] } },
    "SysctlForbidden",
  ],
  [
    "an AppArmor profile",
    container({ securityContext: { appArmorProfile: { type: "Localhost", localhostProfile: "p" } } }),
    "AppArmor",
  ],
];

test.each(rejections)("%s: the pod is turned away as by kubelet", (_, spec, reason) => {
  expect(refusalOf(findingsOf(pod(spec), root))?.rejection).toBe(reason);
});

const omissions: readonly [string, Record<string, unknown>, Abilities, string][] = [
  ["imagePullSecrets", { imagePullSecrets: [{ name: "s" }] }, root, "spec.imagePullSecrets ("],
  [
    "seccomp",
    container({ securityContext: { seccompProfile: { type: "RuntimeDefault" } } }),
    root,
    "spec.containers[main].securityContext.seccompProfile (",
  ],
  ["limits of the pod", { resources: { limits: { cpu: "1" } } }, root, "spec.resources.limits ("],
  ["a GPU", container({ resources: { limits: { "nvidia.com/gpu": "1" } } }), root, "no device is handed"],
  [
    "groups of a plain user",
    { securityContext: { supplementalGroups: [7] } },
    user,
    "spec.securityContext.supplementalGroups (",
  ],
  [
    "CPU limits without a cgroup",
    container({ resources: { limits: { cpu: "1" } } }),
    user,
    "spec.containers[main].resources.limits.cpu (",
  ],
];

test.each(omissions)("%s: left out, and told", (_, spec, node, text) => {
  const findings = findingsOf(pod(spec), node);

  expect(ignoredText(findings)).toContain(text);
  expect(refusalOf(findings)).toBeUndefined();
});

test("an ephemeral container that is refused does not touch the pod", () => {
  const findings = findingsOf(
    pod({
      ephemeralContainers: [{ name: "debug", image: "x", securityContext: { seccompProfile: { type: "Localhost" } } }],
    }),
    root,
  );

  expect(refusalOf(findings)).toBeUndefined();
  expect(refusalOf(findings, "debug")?.message).toContain(
    "spec.ephemeralContainers[debug].securityContext.seccompProfile",
  );
});
