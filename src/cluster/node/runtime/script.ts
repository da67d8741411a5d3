import { shellQuote } from "../errors.js";

/**
 * Written once into a node's folder and started once for each container: ~0.1 MB that outlives the agent. It joins its
 * cgroups, records who it and the container's first process are (with start times, so that a recycled process id is never
 * taken for them), waits, and records the exit code. Descriptor 4, where there is one, keeps the container's input open until
 * USR1 comes. Only built-in commands after the fork: with `unshare -p` a second
 * child would belong to a dead process namespace.
 */
export const keeperScript = `# arguments: event file prefix, cgroup.procs files, --, command
prefix=$1; shift
while [ "$1" != -- ]; do echo $$ 2>/dev/null >"$1"; shift; done
shift
read -r line </proc/$$/stat; printf '%s\\n' "$line" >"$prefix.keeper"
trap : HUP INT QUIT TERM
trap 'exec 4<&-' USR1
exec 3<&0
"$@" <&3 3<&- 4<&- &
child=$!
read -r line </proc/$child/stat; printf '%s\\n' "$line" >"$prefix.init"
exec 3<&- >/dev/null 2>&1
while :; do wait $child; code=$?; kill -0 $child 2>/dev/null || break; done
printf '%s\\n' $code >"$prefix.exit"
`;

/** Everything that the first process of a container does before its program. */
export interface InitOptions {
  readonly fstab: string;
  readonly root: string;
  readonly startedFile: string;
  readonly hostname: string | undefined;
  readonly workingDir: string;
  /** See `exportLines`. */
  readonly envLines: string;
  readonly command: readonly string[];
  /** Programs that change identity before the program, with their arguments: setpriv, env, … */
  readonly prefix: readonly string[];
  readonly readOnlyRoot: boolean;
  /** See `RootMounts`. */
  readonly sealed: readonly { readonly path: string; readonly flags: string }[];
  /** See `SandboxSpec`. */
  readonly sysctls: readonly (readonly [string, string])[];
  /** The command on a terminal; absent: without one. */
  readonly onTerminal: readonly string[] | undefined;
  /** Handed on to the program besides the usual ones. */
  readonly stopSignal: number | undefined;
  readonly programs: { readonly mount: string; readonly umount: string; readonly pivotRoot: string };
}

const shellName = /^[A-Za-z_][A-Za-z0-9_]*$/;
type Environment = readonly (readonly [string, string])[];

/** Shell lines that set the environment. Names that no shell knows (`my.name`) are left to `oddEnvironment`. */
export function exportLines(env: Environment): string {
  return env
    .filter(([name]) => shellName.test(name))
    .map(([name, value]) => `export ${name}=${shellQuote(value)}\n`)
    .join("");
}

/** A command prefix that sets the names which a shell cannot. */
export function oddEnvironment(env: Environment): string[] {
  const odd = env.filter(([name]) => !shellName.test(name)).map(([name, value]) => `${name}=${value}`);
  return odd.length === 0 ? [] : ["/usr/bin/env", ...odd];
}

/**
 * The container's own /bin/sh script: mounts, changes root, says "ok" (or the cause) in the started file, runs the program
 * and hands signals on to it. As first process of its namespace it also reaps what the program leaves behind.
 */
export function initScript(options: InitOptions): string {
  return [
    `exec 8>>${shellQuote(options.startedFile)}`,
    `fail() { printf 'error %s\\n' "$*" >&8; exit 128; }`,
    // While the machine's /proc is there: the container's own is read-only in parts.
    ...(options.hostname === undefined
      ? []
      : [
          `{ echo ${shellQuote(options.hostname)} >/proc/sys/kernel/hostname || hostname ${shellQuote(options.hostname)}; } 2>/dev/null`,
        ]),
    ...options.sysctls.map(sysctlLine),
    ...mountLines(options),
    `[ -d ${shellQuote(options.workingDir)} ] || mkdir -p ${shellQuote(options.workingDir)} 2>/dev/null`,
    `cd ${shellQuote(options.workingDir)} 2>/dev/null || fail ${shellQuote(`the working directory ${options.workingDir} cannot be entered`)}`,
    ...lookUp(options.command[0] ?? ""),
    "unset OLDPWD PWD",
    options.envLines,
    `set -- ${options.command.map(shellQuote).join(" ")}`,
    'lookup "$1"',
    "unset -f lookup fail",
    ...(options.onTerminal === undefined ? [] : [`set -- ${options.onTerminal.map(shellQuote).join(" ")}`]),
    ...signalLines(options),
    "exec 3<&0",
    // Said by the child: from here on it has no traps of this shell any more, so no signal is lost in between.
    `{ printf 'ok\\n' >&8; exec ${[...options.prefix.map(shellQuote), '"$@"'].join(" ")} <&3 3<&- 8>&-; } &`,
    ...waitLines,
    "",
  ].join("\n");
}

function mountLines(options: InitOptions): string[] {
  const { mount, umount, pivotRoot } = options.programs;
  const root = shellQuote(options.root);
  return [
    `__o=$(${mount} -a -T ${shellQuote(options.fstab)} 2>&1) || fail "mounting the container's file system: $__o"`,
    ...options.sealed.map(
      ({ path, flags }) =>
        `${mount} -o ${flags} ${shellQuote(path)} || fail ${shellQuote(`${path} cannot be made read-only`)}`,
    ),
    ...(options.readOnlyRoot
      ? [`${mount} -o remount,bind,ro ${root} || fail "the root cannot be made read-only"`]
      : []),
    `cd ${root} || fail "the root is gone"`,
    `${pivotRoot} . .argosy/old || fail "changing the root"`,
    `cd / && ${umount} -l /.argosy/old || fail "leaving the old root"`,
  ];
}

/** A shell line that sets a sysctl, or calls `fail MESSAGE`. */
export function sysctlLine([name, value]: readonly [string, string]): string {
  const path = `/proc/sys/${name.replaceAll(".", "/")}`;
  return `{ printf '%s\\n' ${shellQuote(value)} >${shellQuote(path)}; } 2>/dev/null || fail ${shellQuote(`sysctl ${name} cannot be set to "${value}"`)}`;
}

/** Shell lines: the function `lookup PROGRAM`, which calls `fail MESSAGE` where there is no such program. */
export function lookUp(name: string): string[] {
  const missing = name.includes("/") ? "no such file or directory" : "executable file not found in $PATH";
  const message = shellQuote(`exec: "${name}": ${missing}`);
  return [
    "lookup() {",
    `  case $1 in */*) [ -x "$1" ] && [ ! -d "$1" ] && return 0; fail ${message};; esac`,
    "  IFS=:",
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the shell's
    '  for __d in $PATH; do [ -x "${__d:-.}/$1" ] && [ ! -d "${__d:-.}/$1" ] && unset IFS __d && return 0; done',
    `  fail ${message}`,
    "}",
  ];
}

const forwarded = ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"];

function signalLines({ onTerminal, stopSignal }: InitOptions): string[] {
  const names = [...forwarded, ...(stopSignal === undefined ? [] : [String(stopSignal)])];
  // On a terminal the program is the child of who made it, which would take a signal for its own.
  const target =
    onTerminal === undefined
      ? "$__c"
      : '$(read -r __k </proc/$__c/task/$__c/children; [ -n "$__k" ] && echo $__k || echo $__c)';
  return [
    "__c= __e=",
    ...names.map(
      (name) => `trap 'if [ -n "$__c" ]; then kill -${name} ${target}; else __e="$__e ${name}"; fi' ${name}`,
    ),
  ];
}

const waitLines = [
  "__c=$!",
  // A shell says how its children died; that is not the program's output.
  "exec 3<&- 8>&- 0</dev/null >/dev/null 2>&1",
  "for __s in $__e; do kill -$__s $__c; done",
  "while :; do wait $__c; __r=$?; kill -0 $__c 2>/dev/null || break; done",
  "exit $__r",
];
