import type { HttpRoute } from "../../kernel/module/types.js";

/** A route that fits a path, with the values of its parameters, percent-decoded. */
export interface RouteMatch {
  readonly route: HttpRoute;
  readonly parameters: Readonly<Record<string, string>>;
}

/** What a path leads to: a route; other methods only; nothing; or nothing that can be read (bad percent-encoding). */
export type Resolution = RouteMatch | { readonly allowed: readonly string[] } | "not-found" | "malformed";

interface CompiledRoute {
  readonly route: HttpRoute;
  readonly segments: readonly string[];
  /** Name of the parameter that takes all the rest. */
  readonly rest: string | undefined;
}

/**
 * Finds routes by raw paths. Paths are never normalised: `..` and `//` reach the handler as they were sent, for it to refuse.
 * A literal segment goes before a parameter, and that before a rest.
 */
export function createRouter(routes: readonly HttpRoute[]): (method: string, rawPath: string) => Resolution {
  const byFirst = new Map<string, CompiledRoute[]>();
  for (const route of routes) {
    const compiled = compile(route);
    const first = compiled.segments[0] ?? "";
    const group = byFirst.get(first) ?? [];
    group.push(compiled);
    byFirst.set(first, group);
  }
  for (const group of byFirst.values()) group.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));

  return (method, rawPath) => {
    const segments = rawPath.slice(1).split("/");
    const fitting = (byFirst.get(segments[0] ?? "") ?? []).filter((route) => fits(route, segments));
    const [best] = fitting;
    if (best === undefined) return "not-found";
    const samePath = fitting.filter((route) => rank(route) === rank(best));
    const found =
      samePath.find(({ route }) => route.method === method) ??
      samePath.find(({ route }) => method === "HEAD" && route.method === "GET");
    if (found === undefined) return { allowed: [...new Set(samePath.map(({ route }) => route.method))].sort() };
    const parameters = readParameters(found, segments);
    return parameters === undefined ? "malformed" : { route: found.route, parameters };
  };
}

function compile(route: HttpRoute): CompiledRoute {
  const segments = route.path.slice(1).split("/");
  const last = segments.at(-1) ?? "";
  const rest = last.startsWith("*") ? last.slice(1) : undefined;
  return { route, segments: rest === undefined ? segments : segments.slice(0, -1), rest };
}

/** Sorts the more special first; equal for routes with the same path. */
function rank({ segments, rest }: CompiledRoute): string {
  return `${segments.map((segment) => (segment.startsWith(":") ? "1" : `0${segment}`)).join("/")}${rest === undefined ? "" : "/2"}`;
}

function fits({ segments: wanted, rest }: CompiledRoute, segments: readonly string[]): boolean {
  if (rest === undefined ? segments.length !== wanted.length : segments.length <= wanted.length) return false;
  return wanted.every((part, index) => part.startsWith(":") || part === segments[index]);
}

function readParameters(
  { segments: wanted, rest }: CompiledRoute,
  segments: readonly string[],
): Record<string, string> | undefined {
  const parameters: Record<string, string> = {};
  try {
    for (const [index, part] of wanted.entries()) {
      if (part.startsWith(":")) parameters[part.slice(1)] = decodeURIComponent(segments[index] ?? "");
    }
    if (rest !== undefined) parameters[rest] = decodeURIComponent(segments.slice(wanted.length).join("/"));
    return parameters;
  } catch {
    return undefined;
  }
}
