import type { JsonObject } from "../../../kernel/kinds/object.js";
import type { TableColumn } from "../types.js";
import { objectAge } from "./ages.js";
import type { Behaviour, Column } from "./behaviour.js";
import { asObject, asString } from "./read.js";

/** The first column of every table. */
export const nameColumn: Column = {
  name: "Name",
  type: "string",
  format: "name",
  description: "Name of the object, unique among its kind in the namespace.",
  priority: 0,
  cell: (object) => asString(asObject(object["metadata"])["name"]),
};

/** Time since creation. */
export const ageColumn: Column = {
  name: "Age",
  type: "string",
  format: "",
  description: "Time since the object was created.",
  priority: 0,
  cell: objectAge,
};

const createdColumn: Column = {
  name: "Created At",
  type: "date",
  format: "",
  description: "When the object was created.",
  priority: 0,
  cell: (object) => asString(asObject(object["metadata"])["creationTimestamp"]),
};

/** A column; `wide`: shown with `-o wide` only. */
export function column(
  name: string,
  cell: Column["cell"],
  options: { type?: string; wide?: boolean; description?: string } = {},
): Column {
  return {
    name,
    type: options.type ?? "string",
    format: "",
    description: options.description ?? "",
    priority: options.wide === true ? 1 : 0,
    cell,
  };
}

/** All columns of a native kind, and its cells. */
export function columnsOf(behaviour: Behaviour): {
  columns: readonly TableColumn[];
  cells: (object: JsonObject, now: number) => (string | number | boolean | null)[];
} {
  const all = listColumns(behaviour);
  const columns = all.map(({ name, type, format, description, priority }) => ({
    name,
    type,
    format,
    description,
    priority,
  }));
  return { columns, cells: (object, now) => all.map((one) => one.cell(object, now)) };
}

function listColumns(behaviour: Behaviour): readonly Column[] {
  if (behaviour.columns === undefined) return [nameColumn, createdColumn];
  if (behaviour.allColumns === true) return behaviour.columns;
  const narrow = behaviour.columns.filter((one) => one.priority === 0);
  const wide = behaviour.columns.filter((one) => one.priority > 0);
  return [nameColumn, ...narrow, ageColumn, ...wide];
}
