import { differences } from "./compare.js";
import { widgetDefinition } from "./samples.js";
import type { Target } from "./target.js";
import type { Difference, Scenario, Step } from "./types.js";

const widgets = "/apis/fuzz.example.com/v1/namespaces/default/widgets";
const admission = "/apis/admissionregistration.k8s.io/v1";

/** A real server does not see ConfigMaps as parameters any more once the last policy that takes some is gone: this one stays. */
const keeper = {
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicy",
  metadata: { name: "fuzz-keeper" },
  spec: {
    paramKind: { apiVersion: "v1", kind: "ConfigMap" },
    matchConstraints: {
      resourceRules: [
        { apiGroups: ["none.example.com"], apiVersions: ["v1"], operations: ["CREATE"], resources: ["things"] },
      ],
    },
    validations: [{ expression: "true" }],
  },
};

const keepersBinding = {
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicyBinding",
  metadata: { name: "fuzz-keeper" },
  spec: {
    policyName: "fuzz-keeper",
    validationActions: ["Deny"],
    paramRef: { name: "none", namespace: "default", parameterNotFoundAction: "Allow" },
  },
};

const namespacesOf = ({ namespace }: Scenario): string[] => [namespace, `${namespace}q`];

/** Installs what scenarios presuppose in a fresh server. */
export async function furnish(target: Target): Promise<void> {
  const session = target.open({ namespace: "default" });
  await session.send({ id: 2, method: "POST", path: `${admission}/validatingadmissionpolicies`, body: keeper });
  await session.send({
    id: 3,
    method: "POST",
    path: `${admission}/validatingadmissionpolicybindings`,
    body: keepersBinding,
  });
  const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  await session.send({ id: 0, method: "POST", path, body: widgetDefinition });
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if ((await session.send({ id: 1, method: "GET", path: widgets })).status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("the widgets are not served");
}

/** The namespaces of a scenario, with the account that pods run as: no controllers run. */
export async function prepare(target: Target, scenario: Scenario): Promise<void> {
  const session = target.open(scenario);
  for (const name of namespacesOf(scenario)) {
    await session.send({ id: 0, method: "POST", path: "/api/v1/namespaces", body: { metadata: { name } } });
    const path = `/api/v1/namespaces/${name}/serviceaccounts`;
    await session.send({ id: 1, method: "POST", path, body: { metadata: { name: "default" } } });
  }
}

/** Sends a scenario to both servers, step by step, and tells which steps were answered differently. */
export async function runScenario(real: Target, own: Target, scenario: Scenario): Promise<Difference[]> {
  await Promise.all([prepare(real, scenario), prepare(own, scenario)]);
  const sessions = [real.open(scenario), own.open(scenario)] as const;
  const found: Difference[] = [];
  for (const [index, step] of scenario.steps.entries()) {
    const [expected, got] = await Promise.all([sessions[0].send(step), sessions[1].send(step)]);
    const lines = differences(expected, got);
    if (lines.length > 0) found.push({ seed: scenario.seed, step: index, request: step, expected, got, lines });
  }
  return found;
}

/** The same difference with as few steps as show it, in a namespace of its own. */
export async function shrink(real: Target, own: Target, scenario: Scenario, found: Difference): Promise<Step[]> {
  let steps = scenario.steps.slice(0, found.step + 1);
  let round = 0;
  const shows = async (candidate: readonly Step[]): Promise<boolean> => {
    round += 1;
    const again = renamed({ ...scenario, steps: candidate }, `s${scenario.seed}x${round}`);
    const all = await runScenario(real, own, again);
    return all.some((one) => one.step === candidate.length - 1);
  };
  const last = steps.slice(-1);
  if (await shows(last)) return last;
  for (let index = steps.length - 2; index >= 0; index -= 1) {
    const candidate = steps.filter((_, other) => other !== index);
    if (await shows(candidate)) steps = candidate;
  }
  return steps;
}

/** The same scenario under another name. */
export function renamed(scenario: Scenario, namespace: string): Scenario {
  const pattern = new RegExp(`\\b${scenario.namespace}(?=[a-z]?\\b)`, "g");
  const steps = JSON.parse(JSON.stringify(scenario.steps).replaceAll(pattern, namespace)) as Step[];
  return { ...scenario, namespace, steps };
}
