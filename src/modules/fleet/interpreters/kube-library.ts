import {
  addQuantities,
  formatQuantity,
  type Quantity,
  quantityToNumber,
  tryParseQuantity,
  zeroQuantity,
} from "../../../kernel/kinds/index.js";
import { asObject, toJson } from "../../../kernel/schema/index.js";
import { type Arguments, fromJson, type LibraryFunction, LuaError, toJsonTable } from "./lua/index.js";
import { podDependencies, requirementsOf } from "./pods.js";

function quantityAt(args: Arguments, place: number): Quantity {
  if (!args.has(place)) return zeroQuantity;
  const text = args.text(place);
  const quantity = tryParseQuantity(text);
  if (quantity === undefined) throw new LuaError(`"${text}" is no quantity`);
  return quantity;
}

/** What `require("kube")` gives a script. */
export const KUBE_LIBRARY: Readonly<Record<string, LibraryFunction>> = {
  resourceAdd: (args) => [
    formatQuantity(args.values.map((_value, place) => quantityAt(args, place)).reduce(addQuantities, zeroQuantity)),
  ],
  getResourceQuantity: (args) => [quantityToNumber(quantityAt(args, 0))],
  accuratePodRequirements: (args, { budget }) => {
    const needs = requirementsOf(asObject(toJsonTable(args.table(0), budget)["spec"]));
    return [needs === undefined ? undefined : fromJson(toJson(needs), budget)];
  },
  getPodDependencies: (args, { budget }) => {
    const podSpec = asObject(toJsonTable(args.table(0), budget)["spec"]);
    return [fromJson(toJson(podDependencies(podSpec, args.has(1) ? args.text(1) : "default")), budget)];
  },
};
