import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../src/kernel/kinds/object.js";
import { startTestCluster, type TestCluster } from "../src/testing/index.js";

/** What `who-may/record.mjs` recorded on a real kube-apiserver. */
interface Recording {
  readonly verbs: readonly string[];
  readonly paths: readonly string[];
  readonly namespaces: readonly string[];
  /** `pods/log.`, `deployments.apps`. */
  readonly resources: readonly string[];
  readonly objects: Readonly<
    Record<"clusterroles" | "roles" | "clusterrolebindings" | "rolebindings", readonly JsonObject[]>
  >;
  readonly verdicts: readonly {
    readonly name: string;
    readonly groups: readonly string[];
    /** By namespace: allowed verbs, and the resources on which they are; `*`: all. */
    readonly resources: Readonly<Record<string, Readonly<Record<string, readonly string[] | "*">>>>;
    readonly paths: readonly string[];
  }[];
}

const recorded = JSON.parse(
  readFileSync(new URL("who-may/kubernetes-1.34.4.data.json", import.meta.url), "utf8"),
) as Recording;
const rbac = "/apis/rbac.authorization.k8s.io/v1";
/** Roles that this cluster has besides: for the names under which its own parts call. */
const own = new Set(["clusterrolebindings /system:kubelet-api-admin"]);

let cluster: TestCluster;
beforeAll(async () => {
  cluster = await startTestCluster();
  for (const role of ["cluster-admin", "admin", "edit", "view"])
    await cluster.client.json("POST", `${rbac}/namespaces/default/rolebindings`, {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: role },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
      subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: `${role}-of-default` }],
    });
});
afterAll(() => cluster.close());

interface Listed {
  readonly items: readonly (JsonObject & {
    readonly metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  })[];
}

test.each(["clusterroles", "roles", "clusterrolebindings", "rolebindings"] as const)(
  "the default %s are Kubernetes' own",
  async (plural) => {
    const { items } = (await cluster.client.json("GET", `${rbac}/${plural}`)) as unknown as Listed;
    const ours = items
      .filter(({ metadata }) => metadata.labels?.["kubernetes.io/bootstrapping"] === "rbac-defaults")
      .map(({ metadata: { name, namespace, labels }, rules, aggregationRule, roleRef, subjects }) => ({
        name,
        namespace,
        labels,
        rules,
        aggregationRule,
        roleRef,
        subjects,
      }))
      .filter(({ name, namespace = "" }) => !own.has(`${plural} ${namespace}/${name}`));
    const place = ({ name, namespace = "" }: JsonObject) => JSON.stringify([namespace, name]);
    const sorted = (list: readonly JsonObject[]) =>
      [...list]
        .sort((a, b) => (place(a) < place(b) ? -1 : 1))
        .map((one) => JSON.parse(JSON.stringify(one)) as JsonObject);

    expect(ours.map(place).toSorted()).toEqual(recorded.objects[plural].map(place).toSorted());
    expect(sorted(ours as never)).toEqual(sorted(recorded.objects[plural]));
  },
);

/** The server's word on one question, through its whole request line. */
async function may(user: { name: string; groups: readonly string[] }, attributes: JsonObject): Promise<boolean> {
  const answer = await cluster.server.handle({
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    query: new URLSearchParams(),
    headers: { authorization: `Bearer ${cluster.server.adminToken}`, "content-type": "application/json" },
    body: Buffer.from(
      JSON.stringify({
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: { user: user.name, groups: user.groups, ...attributes },
      }),
    ),
    signal: new AbortController().signal,
  });
  const review = JSON.parse(Buffer.from(answer.body as Uint8Array).toString()) as { status: { allowed: boolean } };
  return review.status.allowed;
}

type Verdict = Recording["verdicts"][number];

/** Each question that was asked about a user, with the real server's answer. */
function* questionsOf(
  verdict: Verdict,
): Generator<{ readonly text: string; readonly asked: JsonObject; readonly wanted: boolean }> {
  for (const namespace of recorded.namespaces) {
    const allowed = new Map<string, ReadonlySet<string>>();
    for (const [verbs, list] of Object.entries(verdict.resources[namespace] ?? {}))
      for (const id of list === "*" ? recorded.resources : list) allowed.set(id, new Set(verbs.split(" ")));
    for (const id of recorded.resources) {
      const [name = "", ...group] = id.split(".");
      const [resource = "", subresource = ""] = name.split("/");
      for (const verb of recorded.verbs) {
        const resourceAttributes = { namespace, group: group.join("."), version: "*", resource, subresource, verb };
        const text = `${verb} ${id} in ${JSON.stringify(namespace)}`;
        yield { text, asked: { resourceAttributes }, wanted: allowed.get(id)?.has(verb) === true };
      }
    }
  }
  for (const path of recorded.paths) {
    const wanted = verdict.paths.includes(path);
    yield { text: `get ${path}`, asked: { nonResourceAttributes: { path, verb: "get" } }, wanted };
  }
}

/** All 250,000 questions take a quarter of a minute; otherwise every seventh is asked. */
const step = process.env["ARGOSY_TEST_LONG"] === undefined ? 7 : 1;

test.each(recorded.verdicts.map((verdict, index) => [verdict.name, verdict, index] as const))(
  "%s may do what it may on a real server, and nothing else",
  async (_name, verdict, index) => {
    const differences: string[] = [];
    let count = index;
    for (const { text, asked, wanted } of questionsOf(verdict)) {
      count++;
      if (count % step !== 0) continue;
      if ((await may(verdict, asked)) !== wanted) differences.push(`${wanted ? "may not" : "may"} ${text}`);
    }
    expect(differences).toEqual([]);
  },
);
