import type { FaultDetails } from "./engine.unsafe.js";

const operatorNames: Readonly<Record<string, string>> = {
  "+": "_+_",
  "-": "_-_",
  "*": "_*_",
  "/": "_/_",
  "%": "_%_",
  "==": "_==_",
  "!=": "_!=_",
  "<": "_<_",
  "<=": "_<=_",
  ">": "_>_",
  ">=": "_>=_",
  in: "@in",
  "&&": "_&&_",
  "||": "_||_",
  "!": "!_",
};

interface Words {
  readonly message: string;
  /** Offset in the text. */
  readonly at: number;
}

/** What is wrong with an expression, as cel-go words it: place, fault, the line and a mark under the place. */
export function wordFault(text: string, fault: FaultDetails): string {
  return wordPlaced(text, fault.isSyntax ? syntax(text, fault) : semantics(text, fault));
}

/** A fault with its place, the line and a mark under the place. */
export function wordPlaced(text: string, { message, at }: Words): string {
  const before = text.slice(0, at).split("\n");
  const column = before.at(-1)?.length ?? 0;
  const line = text.split("\n")[before.length - 1] ?? "";
  return `ERROR: <input>:${before.length}:${column + 1}: ${message}\n | ${line}\n | ${".".repeat(column)}^`;
}

function syntax(_text: string, { code, summary, start }: FaultDetails): Words {
  if (code === "reserved_identifier") {
    const name = summary.replace(/^Reserved identifier: /, "");
    return { message: `Syntax error: reserved identifier: ${name}`, at: start };
  }
  return { message: `Syntax error: ${summary.charAt(0).toLowerCase()}${summary.slice(1)}`, at: start };
}

function semantics(text: string, fault: FaultDetails): Words {
  const { code, summary, start, end } = fault;
  switch (code) {
    case "no_such_key": {
      const dot = text.lastIndexOf(".", start);
      return { message: `undefined field '${summary.replace(/^No such key: /, "")}'`, at: dot < 0 ? start : dot };
    }
    case "unknown_variable":
      return {
        message: `undeclared reference to '${summary.replace(/^Unknown variable: /, "")}' (in container '')`,
        at: start,
      };
    case "no_such_overload":
      return operatorFault(text, fault);
    case "no_matching_overload":
      return callFault(text, fault);
    case "cannot_index_type":
      return {
        message: `type '${typeWords(/'(.*)'/.exec(summary)?.[1] ?? "")}' does not support field selection`,
        at: start,
      };
    case "invalid_logical_operand":
      return {
        message: `expected type 'bool' but found '${typeWords(/got '(.*)'/.exec(summary)?.[1] ?? "")}'`,
        at: start,
      };
    default:
      return { message: summary, at: Math.min(start, end) };
  }
}

function operatorFault(text: string, { summary, start, node }: FaultDetails): Words {
  const rest = summary.replace(/^no such overload: /, "");
  const binary = /^(.+) (==|!=|<=|>=|in|[-+*/%<>]) (.+)$/.exec(rest);
  if (binary !== null) {
    const [, left = "", operator = "", right = ""] = binary;
    return {
      message: `found no matching overload for '${operatorNames[operator] ?? operator}' applied to '(${typeWords(left)}, ${typeWords(right)})'`,
      at: operatorAt(text, operator, node) ?? start,
    };
  }
  const unary = rest.startsWith("!") ? "!_" : "-_";
  return { message: `found no matching overload for '${unary}' applied to '(${typeWords(rest.slice(1))})'`, at: start };
}

/** Where the sign stands between its two operands. */
function operatorAt(text: string, operator: string, node: FaultDetails["node"]): number | undefined {
  const operands: unknown[] = Array.isArray(node?.args) ? node.args : [];
  const left = operands[0];
  const end = typeof left === "object" && left !== null && "end" in left ? left.end : undefined;
  if (typeof end !== "number") return undefined;
  const found = text.indexOf(operator, end);
  return found < 0 ? undefined : found;
}

function callFault(text: string, { summary, start, end }: FaultDetails): Words {
  const call = /'(?:(.*)\.)?([A-Za-z_]\w*)\((.*)\)'$/.exec(summary);
  const [, receiver, name = "", given = ""] = call ?? [];
  const at = text.indexOf("(", text.indexOf(name, start));
  if (!knownFunctions.has(name))
    return { message: `undeclared reference to '${name}' (in container '')`, at: at < 0 || at > end ? start : at };
  const applied = receiver === undefined ? `(${typeWords(given)})` : `${typeWords(receiver)}.(${typeWords(given)})`;
  return {
    message: `found no matching overload for '${name}' applied to '${applied}'`,
    at: at < 0 || at > end ? start : at,
  };
}

/** Functions that there are; calls of others name nothing. */
const knownFunctions = new Set(
  (
    "add allowed asApproximateFloat asInteger base64 bool bytes charAt check cidr compareTo contains containsCIDR containsIP double duration dyn " +
    "endsWith equivalent error errored family fieldSelector find findAll first format getDate getDayOfMonth getDayOfWeek getDayOfYear " +
    "getEscapedPath getFullYear getHost getHostname getHours getMilliseconds getMinutes getMonth getPort getQuery getScheme getSeconds group " +
    "has hasValue indexOf int intersects ip isCIDR isCanonical isGlobalUnicast isGreaterThan isIP isInteger isLessThan isLinkLocalMulticast " +
    "isLinkLocalUnicast isLoopback isQuantity isSemver isSorted isURL isUnspecified join labelSelector last lastIndexOf lowerAscii major masked " +
    "matches max min minor name named namespace none of ofNonZeroValue optFlatMap optMap or orValue patch path prefixLength quantity quote reason " +
    "replace resource semver serviceAccount sign size split startsWith string sub subresource substring sum timestamp trim type uint " +
    "unwrap unwrapOpt upperAscii url validate value dns1123Label dns1123Subdomain dns1035Label qualifiedName labelValue uri uuid byte date datetime"
  ).split(" "),
);

/** Types as cel-go prints them. */
export function typeWords(types: string): string {
  return types
    .replaceAll("<", "(")
    .replaceAll(">", ")")
    .replaceAll(/\bnull\b/g, "null_type")
    .replaceAll(/\$?\bself\.[\w.]+/g, "object");
}

/** Why an expression has no value, as upstream words it. */
export function wordRunTimeFault(text: string, { code, summary, node }: FaultDetails): string {
  switch (code) {
    case "no_such_key":
      return `no such key: ${summary.replace(/^No such key: /, "")}`;
    case "index_out_of_bounds":
      return `index out of bounds: ${/index (-?\d+)/.exec(summary)?.[1] ?? ""}`;
    case "no_such_overload":
    case "no_matching_overload":
      return "no such overload";
    case "int_conversion_error":
    case "double_conversion_error":
    case "uint_conversion_error":
    case "bool_conversion_error":
      return `type conversion error from 'string' to '${code.slice(0, code.indexOf("_"))}'`;
    case "division_by_zero":
      return "division by zero";
    case "modulo_by_zero":
      return "modulus by zero";
    case "numeric_overflow":
      return "integer overflow";
    case "optional_value_missing":
      return "optional.none() dereference";
    default:
      return node === undefined || text === "" ? summary : summary.split("\n", 1).join("");
  }
}
