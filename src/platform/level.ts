import type { ObjectProxy } from "../cluster/apiserver/index.js";
import type { ApiClient } from "../kernel/client/index.js";
import { createManager, type Manager } from "../kernel/control/index.js";
import type { ClusterAccess, ControllerSpec } from "../kernel/control/types.js";
import { InputError } from "../kernel/errors/index.js";
import type { KindDefinition } from "../kernel/kinds/index.js";
import type { Metrics } from "../kernel/metrics/index.js";
import type { Level, Module, ModuleAdmission } from "../kernel/module/types.js";
import { didYouMean } from "../kernel/schema/index.js";
import type { Surroundings } from "./access.js";
import type { Closers } from "./closers.js";

/** Which lease decides who works, and this candidate's name. */
export interface Election {
  readonly namespace: string;
  readonly name: string;
  readonly identity: string;
  /** Where the lease is; default: the cluster. */
  readonly client?: ApiClient;
  /** Told who leads instead (`undefined`: this candidate), whenever that changes. */
  readonly onLeader?: (holder: string | undefined) => void;
}

export interface LevelInput extends Surroundings {
  readonly cluster: ClusterAccess;
  readonly specs: readonly ControllerSpec[];
  readonly closers: Closers;
  /** Absent: they work at once. */
  readonly election?: Election;
  readonly metrics?: Metrics;
}

/** Runs controllers with one identity in one cluster until the closers run. */
export function runControllers({ cluster, specs, closers, election, metrics, ...surroundings }: LevelInput): Manager {
  const manager = createManager({
    ...surroundings,
    cluster,
    ...(election === undefined ? {} : { leaderElection: election }),
    ...(metrics === undefined ? {} : { metrics }),
  });
  for (const spec of specs) {
    manager.add(spec);
  }
  manager.start();
  closers.add(() => manager.close());
  return manager;
}

/** The controllers of these modules at a level, for one cluster. */
export function controllersAt(modules: readonly Module[], level: Level, cluster: ClusterAccess): ControllerSpec[] {
  return modules.flatMap((module) => module.controllers(level, cluster));
}

/** The kinds whose CRDs clusters of a level need for these modules. */
export function kindsAt(modules: readonly Module[], level: Level): KindDefinition[] {
  return modules.flatMap((module) =>
    module.kinds.filter(({ levels }) => levels.includes(level)).map(({ definition }) => definition),
  );
}

/** What these modules look at before it is stored in clusters of a level. */
export function admissionAt(modules: readonly Module[], level: Level): ModuleAdmission[] {
  return modules.flatMap((module) => module.admission ?? []).filter((admission) => admission.level === level);
}

/** What these modules answer below objects in clusters of a level. */
export function proxiesAt(modules: readonly Module[], level: Level): ObjectProxy[] {
  return modules
    .flatMap((module) => module.proxies ?? [])
    .filter((proxy) => proxy.level === level)
    .map(({ kind, forward, upgrade }) => ({ about: kind, forward, ...(upgrade === undefined ? {} : { upgrade }) }));
}

/** The modules wanted, of those that there are; `undefined`: all. Throws `InputError` for a name that there is not. */
export function selectModules(all: readonly Module[], names: readonly string[] | undefined): readonly Module[] {
  for (const name of names ?? []) {
    if (all.every((module) => module.name !== name)) {
      const known = all.map((module) => module.name);
      const near = didYouMean(name, known);
      throw new InputError(
        `there is no module ${JSON.stringify(name)}${near === undefined ? `; there are ${known.join(", ")}` : `; did you mean ${JSON.stringify(near)}?`}`,
      );
    }
  }
  return names === undefined ? all : all.filter((module) => names.includes(module.name));
}
