/** Text templates over a model's parameters, as in the arguments of runtimes: `{{ .NAME }}`, `{{ if .NAME }}…{{ else }}…{{ end }}`. */
import { InputError } from "../../kernel/errors/index.js";

type Part = { readonly text: string } | { readonly action: string };

interface Frame {
  /** What is written now is shown. */
  shown: boolean;
  /** A branch of this `if` was taken already. */
  taken: boolean;
  /** What is around the `if` is shown. */
  readonly outer: boolean;
}

/**
 * Renders a template. `{{-` and `-}}` cut the white space beside them; `else if`, `not` and `eq .NAME "text"` are understood.
 * Throws `InputError` for a parameter that is not given outside of a condition, and for anything else between braces.
 */
export function renderTemplate(template: string, parameters: Readonly<Record<string, string>>): string {
  let out = "";
  const frames: Frame[] = [];
  const shown = (): boolean => frames.at(-1)?.shown ?? true;
  for (const part of split(template)) {
    if ("text" in part) {
      if (shown()) out += part.text;
      continue;
    }
    const [word = ""] = part.action.split(/\s+/);
    if (word === "if") {
      const outer = shown();
      const holds = outer && test(part.action.slice(2), parameters, template);
      frames.push({ shown: holds, taken: holds, outer });
    } else if (word === "else") {
      otherwise(frames.at(-1), part.action, { parameters, template });
    } else if (word === "end") {
      if (frames.pop() === undefined) throw fail(template, "end without if");
    } else if (shown()) out += lookUp(part.action, parameters, template);
  }
  if (frames.length > 0) throw fail(template, "if without end");
  return out;
}

function otherwise(
  frame: Frame | undefined,
  action: string,
  { parameters, template }: { parameters: Readonly<Record<string, string>>; template: string },
): void {
  if (frame === undefined) throw fail(template, "else without if");
  const condition = /^else\s+if\s+(.*)$/.exec(action)?.[1];
  const open = frame.outer && !frame.taken;
  frame.shown = open && (condition === undefined || test(condition, parameters, template));
  frame.taken ||= frame.shown;
}

function split(template: string): Part[] {
  const parts: Part[] = [];
  let at = 0;
  let trim = false;
  for (const match of template.matchAll(/\{\{(-\s)?([\s\S]*?)(\s-)?\}\}/g)) {
    const raw = template.slice(at, match.index);
    const left = trim ? raw.trimStart() : raw;
    parts.push({ text: match[1] === undefined ? left : left.trimEnd() }, { action: (match[2] ?? "").trim() });
    trim = match[3] !== undefined;
    at = match.index + match[0].length;
  }
  const rest = template.slice(at);
  if (rest.includes("{{")) throw fail(template, "{{ without }}");
  parts.push({ text: trim ? rest.trimStart() : rest });
  return parts;
}

function lookUp(action: string, parameters: Readonly<Record<string, string>>, template: string): string {
  const name = /^\.([A-Za-z_][A-Za-z0-9_]*)$/.exec(action)?.[1] ?? /^index\s+\.\s+"([^"]+)"$/.exec(action)?.[1];
  if (name === undefined) throw fail(template, `{{ ${action} }} is not understood`);
  const value = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
  if (value === undefined) throw fail(template, `parameter ${name} is not given`);
  return value;
}

function test(condition: string, parameters: Readonly<Record<string, string>>, template: string): boolean {
  const text = condition.trim();
  const negated = /^not\s+(.*)$/.exec(text)?.[1];
  if (negated !== undefined) return !test(negated, parameters, template);
  const equal = /^eq\s+\.([A-Za-z_]\w*)\s+"([^"]*)"$/.exec(text);
  if (equal?.[1] !== undefined) return (Object.hasOwn(parameters, equal[1]) ? parameters[equal[1]] : "") === equal[2];
  const name = /^\.([A-Za-z_]\w*)$/.exec(text)?.[1];
  if (name === undefined) throw fail(template, `condition ${text} is not understood`);
  return Object.hasOwn(parameters, name) && parameters[name] !== "";
}

const fail = (template: string, what: string): InputError => new InputError(`argument "${template}": ${what}`);
