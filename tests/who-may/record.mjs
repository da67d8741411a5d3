// Records who may do what on a real kube-apiserver: its default roles and bindings, and its verdicts on kinds × verbs × users.
//   node tests/who-may/record.mjs --server https://127.0.0.1:16443 --ca DATA/ca.crt --token "$(cat DATA/token)" > tests/who-may/kubernetes-1.34.4.data.json
// The server must be fresh: what the script makes (role bindings in the namespace default) it removes again.
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: { server: { type: "string" }, ca: { type: "string" }, token: { type: "string" } },
});
const agent = new Agent({ keepAlive: true, maxSockets: 32, ca: readFileSync(values.ca) });
const rbac = "/apis/rbac.authorization.k8s.io/v1";

function ask(method, path, body) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${values.token}`, "content-type": "application/json" };
    const outgoing = request(`${values.server}${path}`, { method, agent, headers }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve(JSON.parse(Buffer.concat(chunks).toString())));
    });
    outgoing.on("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const verbs = "get list watch create update patch delete deletecollection impersonate bind escalate approve sign".split(
  " ",
);
const paths =
  "/ /api /apis /apis/apps /healthz /healthz/etcd /livez /readyz /version /openapi/v2 /metrics /logs /.well-known/openid-configuration /openid/v1/jwks".split(
    " ",
  );
const namespaces = ["default", "kube-system", ""];

async function resources() {
  const found = new Set();
  const add = (group, list) => {
    for (const { name } of list.resources) found.add(`${name}.${group}`);
  };
  add("", await ask("GET", "/api/v1"));
  for (const { name, versions } of (await ask("GET", "/apis")).groups)
    for (const { groupVersion } of versions) add(name, await ask("GET", `/apis/${groupVersion}`));
  for (const name of [
    "users.",
    "groups.",
    "uids.authentication.k8s.io",
    "userextras.authentication.k8s.io",
    "things.example.com",
  ])
    found.add(name);
  return [...found].sort((a, b) => (a < b ? -1 : 1));
}

function subjectsOf(bindings) {
  const users = new Map();
  const add = (name, groups) => users.set(name, { name, groups });
  const account = (namespace, name) =>
    add(`system:serviceaccount:${namespace}:${name}`, [
      "system:serviceaccounts",
      `system:serviceaccounts:${namespace}`,
      "system:authenticated",
    ]);
  add("system:anonymous", ["system:unauthenticated"]);
  add("somebody", ["system:authenticated"]);
  add("master", ["system:masters", "system:authenticated"]);
  add("monitor", ["system:monitoring", "system:authenticated"]);
  add("system:node:node-1", ["system:nodes", "system:authenticated"]);
  for (const role of ["cluster-admin", "admin", "edit", "view"]) add(`${role}-of-default`, ["system:authenticated"]);
  account("default", "default");
  for (const { subjects } of bindings)
    for (const { kind, name, namespace } of subjects ?? []) {
      if (kind === "User") add(name, ["system:authenticated"]);
      if (kind === "ServiceAccount") account(namespace, name);
    }
  return [...users.values()];
}

const known = ({ metadata }) => metadata.labels?.["kubernetes.io/bootstrapping"] === "rbac-defaults";
const plain = ({ metadata, rules, aggregationRule, roleRef, subjects }) => ({
  name: metadata.name,
  namespace: metadata.namespace,
  labels: metadata.labels,
  rules,
  aggregationRule,
  roleRef,
  subjects,
});

const objects = {};
for (const plural of ["clusterroles", "roles", "clusterrolebindings", "rolebindings"])
  objects[plural] = (await ask("GET", `${rbac}/${plural}`)).items.filter(known).map(plain);

const own = ["cluster-admin", "admin", "edit", "view"];
for (const role of own)
  await ask("POST", `${rbac}/namespaces/default/rolebindings`, {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: `who-may-${role}` },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: `${role}-of-default` }],
  });

async function may(user, attributes) {
  const spec = { user: user.name, groups: user.groups, ...attributes };
  const { status } = await ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec,
  });
  return status.allowed === true;
}

const all = await resources();
const users = subjectsOf([...objects.clusterrolebindings, ...objects.rolebindings]);
const verdicts = [];
for (const user of users) {
  const found = {};
  await Promise.all(
    namespaces.flatMap((namespace) =>
      all.map(async (id) => {
        const [name, ...group] = id.split(".");
        const [resource, subresource = ""] = name.split("/");
        const asked = { namespace, group: group.join("."), version: "*", resource, subresource };
        const answers = await Promise.all(verbs.map((verb) => may(user, { resourceAttributes: { ...asked, verb } })));
        const allowed = verbs.filter((_, index) => answers[index]).join(" ");
        if (allowed === "") return;
        found[namespace] ??= {};
        found[namespace][allowed] ??= [];
        found[namespace][allowed].push(id);
      }),
    ),
  );
  const open = await Promise.all(paths.map((path) => may(user, { nonResourceAttributes: { path, verb: "get" } })));
  for (const place of Object.values(found))
    for (const [allowed, list] of Object.entries(place))
      place[allowed] = list.length === all.length ? "*" : list.sort();
  verdicts.push({ ...user, resources: found, paths: paths.filter((_, index) => open[index]) });
}
for (const role of own) await ask("DELETE", `${rbac}/namespaces/default/rolebindings/who-may-${role}`);
agent.destroy();
process.stdout.write(`${JSON.stringify({ verbs, paths, namespaces, resources: all, objects, verdicts })}\n`);
