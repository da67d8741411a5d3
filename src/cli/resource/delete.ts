import { systemClock } from "../../kernel/clock/index.js";
import { InputError, isNotFound } from "../../kernel/errors/index.js";
import { CommandError } from "../errors.js";
import { loadManifests } from "../manifest/load.js";
import type { Terminal } from "../output/terminal.js";
import type { Session } from "../session.js";
import { resolveManifest } from "./apply.js";
import { discover } from "./discovery.js";
import { resourceName, resourcePath } from "./path.js";
import { parseTargets } from "./target.js";

export interface DeleteCommandOptions {
  readonly files: readonly string[];
  readonly namespace?: string;
  readonly all?: boolean;
  readonly wait: boolean;
  readonly timeoutSeconds: number;
  readonly ignoreNotFound?: boolean;
}

/** `argosy delete`: by name or by manifest; waits until the objects are gone unless told not to. */
export async function deleteResources(
  session: Session,
  words: readonly string[],
  options: DeleteCommandOptions,
  terminal: Terminal,
): Promise<void> {
  const victims =
    options.files.length > 0
      ? await victimsOfFiles(session, options, terminal)
      : await victimsOfWords(session, words, options);
  for (const victim of victims) {
    try {
      await session.client.json("DELETE", victim.path);
      terminal.out(`${victim.label} deleted\n`);
    } catch (error) {
      if (!(options.ignoreNotFound === true && isNotFound(error))) {
        throw error;
      }
    }
  }
  if (options.wait) {
    await awaitGone(session, victims, options.timeoutSeconds);
  }
}

interface Victim {
  readonly path: string;
  readonly label: string;
}

async function victimsOfFiles(session: Session, options: DeleteCommandOptions, terminal: Terminal): Promise<Victim[]> {
  const served = await discover(session.client);
  const manifest = await loadManifests(options.files, () => terminal.readStdin());
  return [...manifest.objects].reverse().map((object) => {
    const { resource, path } = resolveManifest(object, served, options.namespace ?? session.namespace);
    return { path, label: resourceName(resource, object.name) };
  });
}

async function victimsOfWords(
  session: Session,
  words: readonly string[],
  options: DeleteCommandOptions,
): Promise<Victim[]> {
  const namespace = options.namespace ?? session.namespace;
  const victims: Victim[] = [];
  for (const { resource, names } of parseTargets(words, await discover(session.client))) {
    if (names.length === 0 && options.all !== true) {
      throw new InputError(`say which ${resource.plural} to delete, or --all`);
    }
    const wanted =
      names.length > 0
        ? names
        : (await session.client.dynamic(resource).list(resource.namespaced ? { namespace } : {})).items.map(
            (item) => item.metadata.name,
          );
    victims.push(
      ...wanted.map((name) => ({ path: resourcePath(resource, namespace, name), label: resourceName(resource, name) })),
    );
  }
  return victims;
}

async function awaitGone(session: Session, victims: readonly Victim[], timeoutSeconds: number): Promise<void> {
  const end = systemClock.monotonicMs() + timeoutSeconds * 1000;
  for (const victim of victims) {
    while (await exists(session, victim.path)) {
      if (systemClock.monotonicMs() > end) {
        throw new CommandError(
          `${victim.label} is still there after ${timeoutSeconds} s: a finalizer may be waiting; see \`argosy describe ${victim.label}\``,
        );
      }
      await systemClock.sleep(200);
    }
  }
}

async function exists(session: Session, path: string): Promise<boolean> {
  try {
    await session.client.json("GET", path);
    return true;
  } catch (error) {
    if (isNotFound(error)) {
      return false;
    }
    throw error;
  }
}
