import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageRoot } from "../../src/kernel/assets/index.js";
import type { Json } from "../../src/kernel/kinds/object.js";
import { differences } from "./fuzz/compare.js";
import { furnish, prepare, renamed } from "./fuzz/run.js";
import type { Target } from "./fuzz/target.js";
import type { Answer, Scenario, Step } from "./fuzz/types.js";

/** Requests that build on each other, with what a real server answered to the last of them. */
export interface RecordedCase {
  readonly seed: number;
  readonly steps: readonly Step[];
  readonly answer: Answer;
}

/** The cases that `npm test` replays. */
export const casesFile = join(packageRoot(), "tests", "real", "cases.data.json");

export function readCases(): RecordedCase[] {
  return JSON.parse(readFileSync(casesFile, "utf8")) as RecordedCase[];
}

const namespace = "case";

/** One line a case, so that additions read well. */
export function writeCases(cases: readonly RecordedCase[]): void {
  writeFileSync(casesFile, `[\n${cases.map((one) => JSON.stringify(one)).join(",\n")}\n]\n`);
}

/** The scenario of a case, under a name of its own. */
export function scenarioOf(recorded: Pick<RecordedCase, "seed" | "steps">, name: string): Scenario {
  return renamed({ seed: recorded.seed, namespace, steps: recorded.steps }, name);
}

/** Sends a case's steps; the last one's answer, with the case's own names. */
export async function replay(
  target: Target,
  recorded: Pick<RecordedCase, "seed" | "steps">,
  name: string,
): Promise<Answer | undefined> {
  const scenario = scenarioOf(recorded, name);
  await prepare(target, scenario);
  const session = target.open(scenario);
  let answer: Answer | undefined;
  for (const step of scenario.steps) answer = await session.send(step);
  if (answer === undefined) return undefined;
  return JSON.parse(JSON.stringify(answer).replaceAll(new RegExp(`\\b${name}(?=[a-z]?\\b)`, "g"), namespace)) as Answer;
}

/** What a case is about: two of the same are one too many. */
function subject(step: Step, answer: Answer): string {
  const kind =
    step.path
      .split("?")[0]
      ?.split("/")
      .filter((part) => !part.includes(namespace))
      .join("/") ?? "";
  const { body } = answer;
  const status = typeof body === "object" && body !== null && !Array.isArray(body) ? body : {};
  const details = status["details"] as { causes?: Json } | undefined;
  const causes = JSON.stringify(details?.causes ?? status["message"] ?? "ok").replaceAll(
    /\[\d+\]|"[^"]{25,}"|\d+/g,
    "",
  );
  return `${step.method} ${step.contentType ?? ""} ${kind} ${answer.status} ${causes.slice(0, 160)} ${answer.warnings.length > 0}`;
}

/** A step and what it builds on: what others presuppose, and the steps whose answers it names. */
function withItsGround(steps: readonly Step[], index: number): Step[] {
  const step = steps[index];
  if (step === undefined) return [];
  const text = JSON.stringify(step);
  const named = (id: number): boolean => ["rv", "uid", "continue"].some((field) => text.includes(`\${${field}:${id}}`));
  const isGround = (one: Step): boolean => one.setup === true || step.after === one.id || named(one.id);
  return [...steps.slice(0, index).filter(isGround), step];
}

/**
 * Records single requests of scenarios on which both servers agree, each subject once; what `known` cases are about is left
 * out.
 */
export async function record(
  real: Target,
  own: Target,
  asked: {
    readonly from: number;
    readonly to: number;
    readonly most: number;
    readonly tag: string;
    readonly make: (seed: number) => Scenario;
    readonly known: readonly RecordedCase[];
  },
): Promise<RecordedCase[]> {
  await Promise.all([furnish(real), furnish(own)]);
  const cases: RecordedCase[] = [];
  const seen = new Set<string>();
  for (const { steps, answer } of asked.known) {
    const last = steps.at(-1);
    if (last !== undefined) seen.add(subject(last, answer));
  }
  for (let seed = asked.from; seed <= asked.to && cases.length < asked.most; seed += 1) {
    const scenario = renamed(asked.make(seed), namespace);
    for (const [index, step] of scenario.steps.entries()) {
      if (step.setup === true) continue;
      const candidate = { seed, steps: withItsGround(scenario.steps, index) };
      const name = `r${seed}x${index}${asked.tag}`;
      const [expected, got] = await Promise.all([replay(real, candidate, name), replay(own, candidate, name)]);
      if (expected === undefined || got === undefined || expected.status === 0) continue;
      const isNew = !seen.has(subject(step, expected));
      if (!isNew || JSON.stringify(expected).length > 4000 || differences(expected, got).length > 0) continue;
      seen.add(subject(step, expected));
      cases.push({ ...candidate, answer: expected });
    }
  }
  return cases;
}
