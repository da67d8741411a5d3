import type { Option } from "commander";
import { nodeRuntimes, platformParts } from "../../platform/index.js";
import { levelNames } from "../agent/options.js";
import type { ServedResource } from "../resource/discovery.js";
import type { ClusterNames } from "./cluster.js";
import { type Line, subcommands } from "./line.js";

/** What can stand at a place: words, or a file of the machine. */
export type Candidates = readonly string[] | "files";

/** Kinds whose objects `argosy logs` takes by TYPE/NAME. */
const logTypes = ["daemonset", "deployment", "job", "replicaset", "statefulset"];

/** What can stand in place of the word in the making. */
export async function candidatesFor(line: Line, cluster: ClusterNames): Promise<Candidates> {
  const found = await (line.option === undefined ? wordsFor(line, cluster) : valuesOf(line.option, line, cluster));
  return found === "files"
    ? found
    : [...new Set(found)]
        .filter((word) => word.startsWith(line.current))
        .sort()
        .map((word) => `${line.prefix}${word}`);
}

async function wordsFor(line: Line, cluster: ClusterNames): Promise<Candidates> {
  const { command, current } = line;
  if (current.startsWith("-")) {
    return command.options
      .filter(({ hidden }) => !hidden)
      .flatMap(({ long }) => long ?? [])
      .concat("--help");
  }
  const inner = subcommands(command).map((each) => each.name());
  if (inner.length > 0) {
    return line.operands.length === 0 ? inner : [];
  }
  return operandsFor(line, cluster);
}

async function operandsFor(line: Line, cluster: ClusterNames): Promise<Candidates> {
  switch (line.command.name()) {
    case "get":
    case "describe":
    case "delete":
      return objectsFor(line, cluster);
    case "explain":
      return line.operands.length === 0 ? typeAndName(line.current, cluster) : [];
    case "logs":
      return line.operands.length === 0 ? logTargets(line.current, cluster) : [];
    case "leave":
    case "cordon":
    case "uncordon":
      return line.operands.length === 0
        ? objectsFor({ ...line, operands: ["clusters.cluster.karmada.io"] }, cluster)
        : [];
    case "completion":
      return line.operands.length === 0 ? ["bash", "fish", "zsh"] : [];
    default:
      return line.command.registeredArguments.some((argument) => argument.name() === "folder") ? "files" : [];
  }
}

/** `TYPE[,TYPE] [NAME…]` or `TYPE/NAME …`. */
async function objectsFor(line: Line, cluster: ClusterNames): Promise<string[]> {
  const [type, ...names] = line.operands;
  if (type === undefined ? line.current.includes("/") : type.includes("/")) {
    return (await typeAndName(line.current, cluster)).filter((word) => !line.operands.includes(word));
  }
  if (type !== undefined) {
    const resource = await resourceOf(type, cluster);
    return resource === undefined ? [] : (await cluster.names(resource)).filter((name) => !names.includes(name));
  }
  const comma = line.current.lastIndexOf(",") + 1;
  const before = line.current.slice(0, comma);
  return (await typeWords(line.current.slice(comma), cluster)).map((word) => `${before}${word}`);
}

/** `hmls/` first, then `hmls/digits`. */
async function typeAndName(current: string, cluster: ClusterNames): Promise<string[]> {
  const slash = current.indexOf("/");
  if (slash < 0) {
    return (await typeWords(current, cluster)).map((word) => `${word}/`);
  }
  const type = current.slice(0, slash);
  const resource = await resourceOf(type, cluster);
  return resource === undefined ? [] : (await cluster.names(resource)).map((name) => `${type}/${name}`);
}

/** Pods by name, others by type and name. */
async function logTargets(current: string, cluster: ClusterNames): Promise<string[]> {
  if (current.includes("/")) {
    return typeAndName(current, cluster);
  }
  const pods = await resourceOf("pods", cluster);
  const types = (await cluster.types()).filter(({ singular }) => logTypes.includes(singular));
  return [...(pods === undefined ? [] : await cluster.names(pods)), ...types.map(({ singular }) => `${singular}/`)];
}

/** Plural names of what can be listed; short and singular ones where no plural begins so. */
async function typeWords(current: string, cluster: ClusterNames): Promise<string[]> {
  const types = (await cluster.types()).filter(({ verbs }) => verbs === undefined || verbs.includes("list"));
  const plurals = types.map(({ plural }) => plural);
  return plurals.some((plural) => plural.startsWith(current))
    ? plurals
    : types.flatMap(({ shortNames, singular }) => [...shortNames, singular]);
}

async function resourceOf(word: string, cluster: ClusterNames): Promise<ServedResource | undefined> {
  const wanted = word.toLowerCase();
  return (await cluster.types()).find(
    ({ plural, singular, kind, shortNames, group }) =>
      [plural, singular, kind.toLowerCase(), ...shortNames].includes(wanted) || `${plural}.${group}` === wanted,
  );
}

async function valuesOf(option: Option, line: Line, cluster: ClusterNames): Promise<Candidates> {
  switch (option.attributeName()) {
    case "context":
      return cluster.contexts();
    case "namespace":
      return cluster.namespaces();
    case "cluster":
      return line.command.name() === "explain" ? cluster.contexts() : [];
    case "level":
      return levelNames;
    case "installCrds":
      return ["false", "true"];
    case "runtime":
      return nodeRuntimes;
    case "without":
      return listed(line.current, platformParts);
    default:
      return choicesIn(option) ?? (/<(file|dir|path|folder)>/.test(option.flags) ? "files" : []);
  }
}

/** The next of a list separated by commas, without those that are there. */
function listed(current: string, all: readonly string[]): string[] {
  const before = current.slice(0, current.lastIndexOf(",") + 1);
  return all.filter((name) => !before.split(",").includes(name)).map((name) => `${before}${name}`);
}

/** An option whose help is `table | json | yaml` takes one of these. */
function choicesIn({ description }: Option): string[] | undefined {
  const choices = description.split(" | ");
  return choices.length > 1 && choices.every((choice) => /^[a-z]+$/.test(choice)) ? choices : undefined;
}
