import { messageOf } from "../../../../kernel/errors/index.js";
import type { JsonObject } from "../../../../kernel/kinds/object.js";
import { asObjects } from "../../../../kernel/schema/index.js";
import { dynamicValue, type Engine, libraryEngine, type Program } from "../../cel/index.js";
import type { ConfigFaults } from "../../config/index.js";
import { isObject, objectAt, stringAt } from "../../fields.js";
import type { UserInfo } from "../../types.js";

/** Who a token's claims say its bearer is, or why they are not enough. */
export type ClaimsVerdict = { readonly user: UserInfo } | { readonly refused: string };

/** Compiled mappings and rules of one issuer. */
export type ClaimRules = (claims: JsonObject) => ClaimsVerdict;

/** Thrown and caught in this file: the claims do not do. */
class Refusal {
  readonly why: string;

  constructor(why: string) {
    this.why = why;
  }
}

/** What one evaluation may cost. */
const budgetPerToken = 10_000_000;
const extraKeyPattern = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[a-z0-9\-._~!$&'()*+,;=:@%/]+$/;

type Reader<T> = (variables: Readonly<Record<string, unknown>>, claims: JsonObject) => T;

interface Place {
  readonly field: string;
  readonly faults: ConfigFaults;
}

/** Compiles `claimMappings`, `claimValidationRules` and `userValidationRules` of one `jwt` entry; adds to `faults` what is wrong with them. */
export function compileClaims(jwt: JsonObject, field: string, faults: ConfigFaults): ClaimRules {
  const engine = libraryEngine();
  engine.declareVariable("claims", "dyn");
  const mappings = objectAt(jwt, "claimMappings");
  const at = (name: string): Place => ({ field: `${field}.${name}`, faults });
  const username = usernameReader(engine, mappings, jwt, at("claimMappings.username"));
  const groups = groupsReader(engine, mappings, at("claimMappings.groups"));
  const uid = uidReader(engine, mappings, at("claimMappings.uid"));
  const extra = extraReaders(engine, mappings, at("claimMappings.extra"));
  const claimRules = claimRuleReaders(engine, jwt, at("claimValidationRules"));
  const userRules = userRuleReaders(jwt, at("userValidationRules"));
  return (claims) => {
    try {
      const variables = { claims: dynamicValue(claims) };
      const name = username(variables, claims);
      for (const rule of claimRules) rule(variables, claims);
      const id = uid?.(variables, claims) ?? "";
      const more = extra.flatMap(({ key, read }) => {
        const values = read(variables, claims);
        return values.length === 0 ? [] : [[key, values] as const];
      });
      const user: UserInfo = {
        username: name,
        groups: groups?.(variables, claims) ?? [],
        ...(id === "" ? {} : { uid: id }),
        ...(more.length === 0 ? {} : { extra: Object.fromEntries(more) }),
      };
      for (const rule of userRules) rule(user);
      return { user };
    } catch (error) {
      if (error instanceof Refusal) return { refused: error.why };
      throw error;
    }
  };
}

function usernameReader(engine: Engine, mappings: JsonObject, jwt: JsonObject, place: Place): Reader<string> {
  const mapping = objectAt(mappings, "username");
  const { claim, expression, prefix } = partsOf(mapping, place);
  if (claim === "" && expression === "") place.faults.add(place.field, "claim or expression is wanted here");
  if (claim !== "" && mapping["prefix"] === undefined)
    place.faults.add(`${place.field}.prefix`, 'is wanted beside claim; "" for none');
  const nonEmpty = (name: string): string => {
    if (name === "") throw new Refusal("the username is empty");
    return name;
  };
  if (expression !== "") {
    checkEmailVerified(expression, jwt, place);
    const read = textReader(engine, expression, { ...place, field: `${place.field}.expression` });
    return (variables, claims) => nonEmpty(read(variables, claims));
  }
  return (_variables, claims) => {
    const value = claims[claim];
    if (typeof value !== "string") throw new Refusal(`the claim ${JSON.stringify(claim)} is no text or missing`);
    if (claim === "email" && claims["email_verified"] !== undefined && claims["email_verified"] !== true)
      throw new Refusal("the email is not verified");
    return nonEmpty(value) && `${prefix}${value}`;
  };
}

/** An address that the issuer did not verify may be anybody's: whoever uses it must look at `email_verified`. */
function checkEmailVerified(expression: string, jwt: JsonObject, { field, faults }: Place): void {
  if (!/\bclaims\s*(\.\??\s*email\b(?!_)|\[\s*\??\s*['"]email['"])/.test(expression)) return;
  const rules = asObjects(jwt["claimValidationRules"]).map((rule) => stringAt(rule, "expression"));
  const extra = asObjects(objectAt(jwt, "claimMappings")["extra"]).map((one) => stringAt(one, "valueExpression"));
  if ([expression, ...rules, ...extra].some((text) => text.includes("email_verified"))) return;
  faults.add(
    `${field}.expression`,
    "claims.email is used: claims.email_verified must be used here, in claimMappings.extra[*].valueExpression or in claimValidationRules[*].expression",
  );
}

function groupsReader(engine: Engine, mappings: JsonObject, place: Place): Reader<string[]> | undefined {
  if (!isObject(mappings["groups"])) return undefined;
  const mapping = objectAt(mappings, "groups");
  const { claim, expression, prefix } = partsOf(mapping, place);
  if (claim !== "" && mapping["prefix"] === undefined)
    place.faults.add(`${place.field}.prefix`, 'is wanted beside claim; "" for none');
  if (expression !== "") return textsReader(engine, expression, { ...place, field: `${place.field}.expression` });
  if (claim === "") return undefined;
  return (_variables, claims) => {
    const value = claims[claim];
    if (value === undefined || value === null) return [];
    const groups = Array.isArray(value) ? value : [value];
    return groups.map((group) => {
      if (typeof group !== "string") throw new Refusal(`the claim ${JSON.stringify(claim)} holds no texts`);
      return `${prefix}${group}`;
    });
  };
}

function uidReader(engine: Engine, mappings: JsonObject, place: Place): Reader<string> | undefined {
  const { claim, expression } = partsOf(objectAt(mappings, "uid"), place);
  if (expression !== "") return textReader(engine, expression, { ...place, field: `${place.field}.expression` });
  if (claim === "") return undefined;
  return (_variables, claims) => {
    const value = claims[claim];
    if (typeof value !== "string") throw new Refusal(`the claim ${JSON.stringify(claim)} is no text or missing`);
    return value;
  };
}

function extraReaders(engine: Engine, mappings: JsonObject, { field, faults }: Place) {
  const seen = new Set<string>();
  return asObjects(mappings["extra"]).map((one, index) => {
    const key = stringAt(one, "key");
    const at = `${field}[${index}]`;
    if (!extraKeyPattern.test(key)) faults.add(`${at}.key`, "must be a lower-case DNS name, a slash and a path");
    else if (/(^|\.)(k8s|kubernetes)\.io\//.test(key)) faults.add(`${at}.key`, "k8s.io and kubernetes.io are reserved");
    if (seen.has(key)) faults.add(`${at}.key`, `${JSON.stringify(key)} is given twice`);
    seen.add(key);
    return {
      key,
      read: textsReader(engine, stringAt(one, "valueExpression"), { faults, field: `${at}.valueExpression` }),
    };
  });
}

function claimRuleReaders(engine: Engine, jwt: JsonObject, { field, faults }: Place): Reader<void>[] {
  return asObjects(jwt["claimValidationRules"]).map((rule, index): Reader<void> => {
    const [claim, wanted, expression] = [
      stringAt(rule, "claim"),
      stringAt(rule, "requiredValue"),
      stringAt(rule, "expression"),
    ];
    const at = `${field}[${index}]`;
    if ((claim === "") === (expression === "")) faults.add(at, "either claim or expression is wanted here");
    if (expression === "") {
      if (rule["message"] !== undefined) faults.add(`${at}.message`, "goes with expression only");
      return (_variables, claims) => {
        const value = claims[claim];
        if (typeof value !== "string") throw new Refusal(`the claim ${JSON.stringify(claim)} is no text or missing`);
        if (value !== wanted) throw new Refusal(`the claim ${JSON.stringify(claim)} has another value than required`);
      };
    }
    if (rule["requiredValue"] !== undefined) faults.add(`${at}.requiredValue`, "goes with claim only");
    const run = compile(engine, expression, { faults, field: `${at}.expression` }, ["bool"]);
    const message = stringAt(rule, "message") || `the rule ${expression} does not hold`;
    return (variables) => {
      if (run(variables) !== true) throw new Refusal(message);
    };
  });
}

function userRuleReaders(jwt: JsonObject, { field, faults }: Place): ((user: UserInfo) => void)[] {
  const engine = libraryEngine();
  engine.declareVariable("user", "dyn");
  return asObjects(jwt["userValidationRules"]).map((rule, index) => {
    const expression = stringAt(rule, "expression");
    const run = compile(engine, expression, { faults, field: `${field}[${index}].expression` }, ["bool"]);
    const message = stringAt(rule, "message") || `the rule ${expression} does not hold`;
    return (user) => {
      const extra: JsonObject = {};
      for (const [key, values] of Object.entries(user.extra ?? {})) extra[key] = [...values];
      const value = { username: user.username, uid: user.uid ?? "", groups: [...user.groups], extra };
      if (run({ user: dynamicValue(value) }) !== true) throw new Refusal(message);
    };
  });
}

function partsOf(mapping: JsonObject, { field, faults }: Place) {
  const [claim, expression, prefix] = [
    stringAt(mapping, "claim"),
    stringAt(mapping, "expression"),
    stringAt(mapping, "prefix"),
  ];
  if (claim !== "" && expression !== "") faults.add(field, "either claim or expression, not both");
  if (expression !== "" && mapping["prefix"] !== undefined)
    faults.add(`${field}.prefix`, "goes with claim only; an expression makes its own");
  return { claim, expression, prefix };
}

function textReader(engine: Engine, expression: string, place: Place): Reader<string> {
  const run = compile(engine, expression, place, ["string"]);
  return (variables) => {
    const value = run(variables);
    if (typeof value !== "string") throw new Refusal(`the expression ${expression} gives no text`);
    return value;
  };
}

function textsReader(engine: Engine, expression: string, place: Place): Reader<string[]> {
  const run = compile(engine, expression, place, ["string", "list"]);
  return (variables) => {
    const value = run(variables);
    if (value === null || value === "") return [];
    const values: unknown[] = Array.isArray(value) ? value : [value];
    return values
      .map((one) => {
        if (typeof one !== "string") throw new Refusal(`the expression ${expression} gives no texts`);
        return one;
      })
      .filter((one) => one !== "");
  };
}

/** Compiles an expression whose result must be of one of the types; what goes wrong when it runs refuses the token. */
function compile(
  engine: Engine,
  expression: string,
  { field, faults }: Place,
  types: readonly string[],
): (variables: Readonly<Record<string, unknown>>) => unknown {
  const compiled = engine.compile(expression.trim());
  if ("fault" in compiled) {
    faults.add(field, `does not compile: ${compiled.fault}`);
    return () => undefined;
  }
  const { program } = compiled;
  const base = program.type.name;
  if (base !== "dyn" && !types.includes(base))
    faults.add(field, `must give ${types.join(" or ")}, not ${program.type.text}`);
  return (variables) => evaluate(program, variables);
}

function evaluate(program: Program, variables: Readonly<Record<string, unknown>>): unknown {
  try {
    return program.run(variables, { left: budgetPerToken });
  } catch (error) {
    throw new Refusal(`the expression ${program.text} fails: ${messageOf(error)}`);
  }
}
