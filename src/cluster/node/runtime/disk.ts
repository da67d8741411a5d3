import { findProgram, runCommand } from "../commands.js";

/** Bytes that a folder's files take on their own file system, as `du` counts; `undefined` where that cannot be told. */
export async function folderBytes(path: string): Promise<number | undefined> {
  const du = findProgram("du");
  if (du === undefined) return undefined;
  // Files may vanish while they are counted: what it prints is good all the same.
  const { stdout } = await runCommand(du, ["-skx", path]);
  const kilobytes = /^(\d+)\s/.exec(stdout)?.[1];
  return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
}
