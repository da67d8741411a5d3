import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Pod } from "../../../kernel/kinds/index.js";

/** What a resolv.conf says. */
interface Resolver {
  readonly nameservers: readonly string[];
  readonly searches: readonly string[];
  /** `ndots:5`, `edns0`. */
  readonly options: readonly string[];
}

const none: Resolver = { nameservers: [], searches: [], options: [] };

/**
 * The pod's own /etc/resolv.conf; `undefined` where it is the machine's. Services are found through /etc/hosts, so every
 * policy but `None` starts from the machine's servers, and `dnsConfig` comes on top.
 */
export function resolvConfOf(pod: Pod, etcFolder: string): string | undefined {
  const { dnsPolicy, dnsConfig } = pod.spec;
  if (dnsPolicy !== "None" && dnsConfig === undefined) return undefined;
  const base = dnsPolicy === "None" ? none : parse(readText(join(etcFolder, "resolv.conf")));
  const options = (dnsConfig?.options ?? []).map(({ name = "", value }) =>
    value === undefined ? name : `${name}:${value}`,
  );
  return render({
    nameservers: unique([...base.nameservers, ...(dnsConfig?.nameservers ?? [])]),
    searches: unique([...base.searches, ...(dnsConfig?.searches ?? [])]),
    options: mergeOptions(base.options, options),
  });
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function parse(text: string): Resolver {
  const lines = text.split("\n").map((line) => line.trim().split(/\s+/));
  const of = (...names: string[]): string[] =>
    lines.filter(([name = ""]) => names.includes(name)).flatMap(([, ...values]) => values);
  return { nameservers: of("nameserver"), searches: of("search", "domain"), options: of("options") };
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)];
}

/** A later option replaces an earlier one of that name. */
function mergeOptions(base: readonly string[], more: readonly string[]): string[] {
  const named = new Map([...base, ...more].map((option) => [option.split(":")[0] ?? option, option]));
  return [...named.values()];
}

function render({ nameservers, searches, options }: Resolver): string {
  const lines = [
    ...(searches.length === 0 ? [] : [`search ${searches.join(" ")}`]),
    ...nameservers.map((address) => `nameserver ${address}`),
    ...(options.length === 0 ? [] : [`options ${options.join(" ")}`]),
  ];
  return `${lines.join("\n")}\n`;
}
