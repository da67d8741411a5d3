import { CelEvaluationError } from "../errors.js";
import { type Checked, type Expression, type Fault, type Of, type Validator, walk } from "../language/index.js";
import { clauseFault, clauses, fill } from "./format.js";

/** An argument that its clause is not for. */
class WrongArgument {
  readonly fault: Fault;

  constructor(fault: Fault) {
    this.fault = fault;
  }
}

/** Templates that stand in the text, against the arguments that are given them. */
export const formatFaults: Validator = (checked) => {
  const faults: Fault[] = [];
  for (const one of walk(checked.root)) {
    if (one.kind !== "call" || one.name !== "format" || one.args.length !== 1 || one.target?.kind !== "literal")
      continue;
    const [list] = one.args;
    const { value } = one.target;
    if (list?.kind === "list" && typeof value === "string")
      faults.push(...templateFaults(value, list, { at: one.at, checked }));
  }
  return faults;
};

function templateFaults(
  template: string,
  { items }: Of<"list">,
  place: { readonly at: number; readonly checked: Checked },
): Fault[] {
  let index = 0;
  try {
    fill(template, () => {
      const item = items[index];
      index += 1;
      return ({ verb }) => {
        if (item === undefined) throw new CelEvaluationError(`index ${index - 1} out of range`);
        const wrong = unfit(item, verb, place.checked);
        if (wrong !== undefined)
          throw new WrongArgument({ message: clauseFault(verb, place.checked.typeOf(wrong).name), at: wrong.at });
        return "";
      };
    });
  } catch (thrown) {
    if (thrown instanceof WrongArgument) return [thrown.fault];
    if (thrown instanceof CelEvaluationError) return [{ message: thrown.message, at: place.at }];
    throw thrown;
  }
  if (items.length <= index) return [];
  const message = `too many arguments supplied to string.format (expected ${index}, got ${items.length})`;
  return [{ message, at: place.at }];
}

/** The part of an argument that a clause cannot show. */
function unfit(item: Expression, verb: string, checked: Checked): Expression | undefined {
  const { kind, name } = checked.typeOf(item);
  if (kind !== "dyn" && clauses[verb.toLowerCase()]?.types.includes(name) !== true) return item;
  if (verb !== "s") return undefined;
  const inner =
    item.kind === "list"
      ? item.items
      : item.kind === "map"
        ? item.entries.flatMap(({ key, value }) => [key, value])
        : [];
  for (const part of inner) {
    const wrong = unfit(part, verb, checked);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}
