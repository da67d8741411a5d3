import { type Engine, Opaque } from "./language/index.js";

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

const prefix = "kubernetes.authorization.";
const nothing = { group: "", resource: "", subresource: "", namespace: "", name: "" };

class Decision extends Opaque {
  readonly typeName = `${prefix}Decision`;
  readonly allowed: boolean;
  readonly reason: string;

  constructor(decision = { allowed: false, reason: "" }) {
    super();
    this.allowed = decision.allowed;
    this.reason = decision.reason;
  }

  isEqual(other: Opaque): boolean {
    return other === this;
  }
}

/** A question that is not asked yet: all checks are such. */
abstract class Check extends Opaque {
  readonly judge: Judge | undefined;
  readonly about: Omit<Question, "verb">;

  constructor(judge?: Judge, about: Omit<Question, "verb"> = nothing) {
    super();
    this.judge = judge;
    this.about = about;
  }

  isEqual(other: Opaque): boolean {
    return other === this;
  }

  ask(verb: string): Decision {
    return new Decision(this.judge?.ask({ ...this.about, verb }));
  }
}

class PathCheck extends Check {
  readonly typeName = `${prefix}PathCheck`;
}
class GroupCheck extends Check {
  readonly typeName = `${prefix}GroupCheck`;
}
class ResourceCheck extends Check {
  readonly typeName = `${prefix}ResourceCheck`;

  with(more: Partial<Question>): ResourceCheck {
    return new ResourceCheck(this.judge, { ...this.about, ...more });
  }
}

/** `authorizer` as expressions see it. */
class Authorizer extends Check {
  readonly typeName = `${prefix}Authorizer`;

  get requestResource(): ResourceCheck {
    return new ResourceCheck(this.judge, { ...this.about, ...this.judge?.requestResource });
  }
}

/** The values of `authorizer` and `authorizer.requestResource` for one request. */
export function authorizerValues(judge: Judge | undefined): {
  readonly authorizer: unknown;
  readonly requestResource: unknown;
} {
  const authorizer = new Authorizer(judge);
  return { authorizer, requestResource: authorizer.requestResource };
}

/** What can be asked of an authorizer. */
export function defineAuthorizer(engine: Engine): void {
  const define = <A extends readonly unknown[]>(signature: string, implementation: (...values: A) => unknown): void =>
    engine.define(signature.replaceAll(/\b(?=[A-Z])/g, prefix), implementation);
  for (const name of ["Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision"])
    engine.declareType(prefix + name);
  const ask = (check: Check, verb: string): Decision => check.ask(verb);
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
}

/** Lets expressions name the authorizer. */
export function declareAuthorizer(engine: Engine): void {
  engine.declareVariable("authorizer", `${prefix}Authorizer`);
  engine.declareVariable("authorizer.requestResource", `${prefix}ResourceCheck`);
}
