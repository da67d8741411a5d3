import type { Rule, State } from "./grammar.js";
import { endOfText, type Token } from "./tokens.js";

/** Where a reader that took one of the ways may be by now. */
interface Configuration {
  readonly state: State;
  readonly way: number;
  readonly stack: Stack | undefined;
  /** It has left the rule in which it was to be decided. */
  readonly isOutside: boolean;
}

interface Stack {
  readonly state: State;
  readonly below: Stack | undefined;
}

/** The way to take; or the token at which no way goes on. */
export type Prediction = { readonly way: number } | { readonly stuckAt: Token };

/** Which way to take from a state, looking as far ahead as it takes to tell. Of several that fit the first. */
export function predict(
  from: State,
  tokens: readonly Token[],
  {
    at,
    precedence,
    stops,
  }: { readonly at: number; readonly precedence: number; readonly stops: ReadonlyMap<State, Rule> },
): Prediction {
  const first = from.edges.map(({ to }, index) => ({ state: to, way: index + 1, stack: undefined, isOutside: false }));
  let now = closure(first, stops, precedence);
  for (let index = at; ; index += 1) {
    const token = tokens[Math.min(index, tokens.length - 1)];
    if (token === undefined) return { way: 1 };
    const next = closure(moved(now, token.kind), stops, undefined);
    const ways = waysOf(next);
    const [only] = ways;
    if (only === undefined) {
      const [done] = waysOf(now.filter(({ isOutside }) => isOutside));
      return done === undefined ? { stuckAt: token } : { way: done };
    }
    if (ways.length === 1 || token.kind === endOfText || isSettled(next)) return { way: only };
    now = next;
  }
}

const waysOf = (all: readonly Configuration[]): number[] =>
  [...new Set(all.map(({ way }) => way))].sort((a, b) => a - b);

function moved(all: readonly Configuration[], kind: string): Configuration[] {
  return all.flatMap((one) =>
    one.state.edges.filter(({ tokens }) => tokens?.has(kind) === true).map(({ to }) => ({ ...one, state: to })),
  );
}

const stackKey = (stack: Stack | undefined): string => {
  let key = "";
  for (let at = stack; at !== undefined; at = at.below) key += `${at.state.id},`;
  return key;
};

/** All places that are reached without a token. `precedence`: of the rule in which it is decided, at the start. */
function closure(
  from: readonly Configuration[],
  stops: ReadonlyMap<State, Rule>,
  precedence: number | undefined,
): Configuration[] {
  const seen = new Set<string>();
  const found: Configuration[] = [];
  const rest = [...from].reverse();
  for (let one = rest.pop(); one !== undefined; one = rest.pop()) {
    const key = `${one.state.id} ${one.way} ${one.isOutside} ${stackKey(one.stack)}`;
    if (seen.has(key)) continue;
    seen.add(key);
    if (one.state.edges.some(({ tokens }) => tokens !== undefined)) found.push(one);
    rest.push(...steps(one, stops, precedence).reverse());
  }
  return found;
}

function steps(one: Configuration, stops: ReadonlyMap<State, Rule>, precedence: number | undefined): Configuration[] {
  const { state, stack } = one;
  if (state.kind === "stop") {
    if (stack !== undefined) return [{ ...one, state: stack.state, stack: stack.below }];
    return (stops.get(state)?.follows ?? []).map((to) => ({ ...one, state: to, isOutside: true }));
  }
  const found: Configuration[] = [];
  for (const { to, tokens, rule, guard } of state.edges) {
    if (tokens !== undefined) continue;
    const isDecided = guard !== undefined && precedence !== undefined && stack === undefined && !one.isOutside;
    if (isDecided && guard < precedence) continue;
    found.push(
      rule === undefined ? { ...one, state: to } : { ...one, state: rule.start, stack: { state: to, below: stack } },
    );
  }
  return found;
}

/** Whether more tokens would not tell the ways apart: wherever one may be, another may be too. */
function isSettled(all: readonly Configuration[]): boolean {
  const ways = new Map<string, Set<number>>();
  const states = new Map<number, Set<number>>();
  for (const { state, stack, way } of all) {
    const key = `${state.id} ${stackKey(stack)}`;
    ways.set(key, (ways.get(key) ?? new Set()).add(way));
    states.set(state.id, (states.get(state.id) ?? new Set()).add(way));
  }
  return [...ways.values()].some(({ size }) => size > 1) && [...states.values()].every(({ size }) => size > 1);
}
