import type { Engine } from "./engine.unsafe.js";

/** What an expression asks the authorizer. */
export interface Question {
  readonly verb: string;
  /** Set where it is about no resource. */
  readonly path?: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  readonly fieldSelector?: string;
  /** Who it is about, where that is not the request's user. */
  readonly account?: { readonly namespace: string; readonly name: string };
}

/** Answers questions about the user of one request. */
export interface Judge {
  ask(question: Question): { readonly allowed: boolean; readonly reason: string };
  /** The resource that the request is about. */
  readonly requestResource: Pick<Question, "group" | "resource" | "subresource" | "namespace" | "name">;
}

/** What one question costs, as upstream counts it. */
const questionCost = 350_000;
const nothing = { group: "", resource: "", subresource: "", namespace: "", name: "" };

class Decision {
  readonly allowed: boolean;
  readonly reason: string;

  constructor(decision = { allowed: false, reason: "" }) {
    this.allowed = decision.allowed;
    this.reason = decision.reason;
  }
}

/** A question that is not asked yet: all checks are such. */
class Check {
  readonly judge: Judge | undefined;
  readonly about: Omit<Question, "verb">;

  constructor(judge?: Judge, about: Omit<Question, "verb"> = nothing) {
    this.judge = judge;
    this.about = about;
  }

  ask(verb: string): Decision {
    return new Decision(this.judge?.ask({ ...this.about, verb }));
  }
}

class PathCheck extends Check {}
class GroupCheck extends Check {}
class ResourceCheck extends Check {
  with(more: Partial<Question>): ResourceCheck {
    return new ResourceCheck(this.judge, { ...this.about, ...more });
  }
}

/** `authorizer` as expressions see it. */
class Authorizer extends Check {
  get requestResource(): ResourceCheck {
    return new ResourceCheck(this.judge, { ...this.about, ...this.judge?.requestResource });
  }
}

/** The value of `authorizer` for one request. */
export function authorizerValue(judge: Judge | undefined): object {
  return new Authorizer(judge);
}

/** Declares `authorizer` and what can be asked of it. */
export function declareAuthorizer(engine: Engine): void {
  const prefix = "kubernetes.authorization.";
  const define = <A extends readonly unknown[]>(signature: string, implementation: (...values: A) => unknown): void =>
    engine.define(signature.replaceAll(/\b(?=[A-Z])/g, prefix), implementation);
  for (const [name, ctor] of Object.entries({ PathCheck, GroupCheck, ResourceCheck, Decision }))
    engine.declareType(prefix + name, ctor);
  engine.declareType(`${prefix}Authorizer`, Authorizer, { requestResource: `${prefix}ResourceCheck` });
  const ask = (check: Check, verb: string): Decision => {
    engine.meter.charge(questionCost);
    return check.ask(verb);
  };
  define(
    "Authorizer.path(string): PathCheck",
    (a: Authorizer, path: string) => new PathCheck(a.judge, { ...a.about, path }),
  );
  define(
    "Authorizer.group(string): GroupCheck",
    (a: Authorizer, group: string) => new GroupCheck(a.judge, { ...a.about, group }),
  );
  define(
    "Authorizer.serviceAccount(string, string): Authorizer",
    (a: Authorizer, namespace: string, name: string) =>
      new Authorizer(a.judge, { ...a.about, account: { namespace, name } }),
  );
  define(
    "GroupCheck.resource(string): ResourceCheck",
    (check: GroupCheck, resource: string) => new ResourceCheck(check.judge, { ...check.about, resource }),
  );
  for (const field of ["subresource", "namespace", "name", "fieldSelector"])
    define(`ResourceCheck.${field}(string): ResourceCheck`, (check: ResourceCheck, value: string) =>
      check.with({ [field]: value }),
    );
  // Nobody's rights depend on labels here.
  define("ResourceCheck.labelSelector(string): ResourceCheck", (check: ResourceCheck, _selector: string) => check);
  define("PathCheck.check(string): Decision", ask);
  define("ResourceCheck.check(string): Decision", ask);
  define("Decision.allowed(): bool", (decision: Decision) => decision.allowed);
  define("Decision.reason(): string", (decision: Decision) => decision.reason);
  define("Decision.error(): string", (_decision: Decision) => "");
  define("Decision.errored(): bool", (_decision: Decision) => false);
  engine.declareVariable("authorizer", `${prefix}Authorizer`);
}
