import type { Json } from "../../../src/kernel/kinds/object.js";
import type { Answer } from "./types.js";

/** Where two answers differ: `path: expected …, got …`. */
export function differences(expected: Answer, got: Answer): string[] {
  const lines: string[] = [];
  // What crashes the real server has no right answer.
  if (expected.status === 0 && got.status !== 0) return lines;
  if (expected.status !== got.status) lines.push(line("status", expected.status, got.status));
  if (expected.type !== got.type) lines.push(line("content-type", expected.type, got.type));
  walk("warnings", [...expected.warnings], [...got.warnings], lines);
  walk("body", expected.body, got.body, lines);
  return lines;
}

function walk(path: string, expected: Json | undefined, got: Json | undefined, lines: string[]): void {
  if (expected === got) return;
  if (Array.isArray(expected) && Array.isArray(got)) {
    for (let index = 0; index < Math.max(expected.length, got.length); index += 1)
      walk(`${path}[${index}]`, expected[index], got[index], lines);
  } else if (isObject(expected) && isObject(got)) {
    for (const key of new Set([...Object.keys(expected), ...Object.keys(got)]))
      walk(`${path}.${key}`, expected[key], got[key], lines);
  } else lines.push(line(path, expected, got));
}

function isObject(value: Json | undefined): value is { [key: string]: Json | undefined } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function line(path: string, expected: Json | undefined, got: Json | undefined): string {
  const show = (value: Json | undefined): string => (value === undefined ? "<missing>" : JSON.stringify(value));
  return `${path}: expected ${show(expected)}, got ${show(got)}`;
}
