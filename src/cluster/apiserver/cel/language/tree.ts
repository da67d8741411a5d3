/** A part of an expression. `at`: the character that stands for it in faults. */
export type Expression = { readonly id: number; readonly at: number } & (
  | { readonly kind: "literal"; readonly value: unknown; readonly type: LiteralType }
  | { readonly kind: "identifier"; readonly name: string }
  | { readonly kind: "select"; readonly operand: Expression; readonly field: string; readonly isTest: boolean }
  | {
      readonly kind: "call";
      readonly name: string;
      readonly target: Expression | undefined;
      readonly args: readonly Expression[];
    }
  | { readonly kind: "list"; readonly items: readonly Expression[]; readonly optional: ReadonlySet<number> }
  | { readonly kind: "map"; readonly entries: readonly Entry[] }
  | { readonly kind: "struct"; readonly name: string; readonly fields: readonly Entry[] }
  | ({ readonly kind: "loop" } & Loop)
  /** Where an expression should be and is none. */
  | { readonly kind: "nothing" }
);

export type LiteralType = "bool" | "bytes" | "double" | "int" | "null" | "string" | "uint";

/** Of a map, or of an object (the key is a literal then). */
export interface Entry {
  readonly at: number;
  readonly key: Expression;
  readonly value: Expression;
  readonly isOptional: boolean;
}

/** What macros become: goes through a range and gathers a result. */
export interface Loop {
  readonly range: Expression;
  readonly variable: string;
  /** In loops with two variables the first is the key or the index. */
  readonly second: string | undefined;
  readonly gathered: string;
  readonly start: Expression;
  readonly condition: Expression;
  readonly step: Expression;
  readonly result: Expression;
}

/** The kinds of parts by name. */
export type Of<K extends Expression["kind"]> = Extract<Expression, { kind: K }>;

/** The parts of a part, in the order in which they are checked. */
export function partsOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case "select":
      return [expression.operand];
    case "call":
      return [...(expression.target === undefined ? [] : [expression.target]), ...expression.args];
    case "list":
      return expression.items;
    case "map":
    case "struct":
      return (expression.kind === "map" ? expression.entries : expression.fields).flatMap(({ key, value }) => [
        key,
        value,
      ]);
    case "loop":
      return [expression.range, expression.start, expression.condition, expression.step, expression.result];
    default:
      return [];
  }
}

/** Names of operators, as faults show them. */
export const operators: Readonly<Record<string, string>> = {
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
};

/** A fault, the line that it is in and a mark under its place. */
export function wordFaults(
  characters: readonly string[],
  faults: readonly { message: string; at: number | undefined }[],
): string {
  const lines = characters.join("").split("\n");
  const starts: number[] = [0];
  for (const [index, sign] of characters.entries()) if (sign === "\n") starts.push(index + 1);
  const shown = faults.map(({ message, at }) => {
    if (at === undefined) return { line: -1, column: -1, text: `ERROR: <input>:-1:0: ${message}` };
    const line = starts.findLastIndex((start) => start <= at);
    const column = at - (starts[line] ?? 0);
    const source = (lines[line] ?? "").replaceAll("\t", " ");
    const marks = Array.from(source).map((sign) =>
      (sign.codePointAt(0) ?? 0) > 127 ? ["\uff0e", "\uff3e"] : [".", "^"],
    );
    const under = marks.slice(0, column).map(([dot]) => dot);
    const mark = `${under.join("")}${marks[column]?.[1] ?? "^"}`;
    return { line, column, text: `ERROR: <input>:${line + 1}:${column + 1}: ${message}\n | ${source}\n | ${mark}` };
  });
  return shown
    .toSorted((a, b) => a.line - b.line || a.column - b.column)
    .map(({ text }) => text)
    .join("\n");
}
