import { readFileSync } from "node:fs";

/** Whether `path` is `folder` or lies in it. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

/** A path as fstab and mountinfo write it. */
export function escapeField(text: string): string {
  return text.replaceAll("\\", "\\134").replaceAll(" ", "\\040").replaceAll("\t", "\\011").replaceAll("\n", "\\012");
}

/** The other way round. */
export function unescapeField(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/** Where something is mounted on this machine. */
export function mountPoints(): string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return [...new Set(lines.map((line) => unescapeField(line.split(" ")[4] ?? "")))].filter((path) => path !== "");
}

/** Flags that a less privileged namespace may not take off a mount, so a read-only remount has to repeat them. */
export function lockedFlags(path: string): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" "))
    .filter((fields) => isWithin(path, unescapeField(fields[4] ?? "-")))
    .sort((a, b) => (b[4]?.length ?? 0) - (a[4]?.length ?? 0));
  const options = (mounts[0]?.[5] ?? "").split(",");
  return ["nosuid", "nodev", "noexec"].filter((flag) => options.includes(flag));
}
