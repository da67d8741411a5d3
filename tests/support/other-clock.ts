import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeLibrary } from "./preloaded.js";

/** Clocks that are wrong, for processes; see `other-clock.c`. */
export interface OtherClocks {
  /** What a process must be started with to have the clock of this name; at first it is right. */
  environment(name: string): Readonly<Record<string, string>>;
  /** From now on it is off by so many minutes. */
  turn(name: string, minutes: number): void;
  remove(): void;
}

/** Makes some; or says why this machine cannot. */
export function otherClocks(): OtherClocks | string {
  const place = mkdtempSync(join(tmpdir(), "argosy-clocks-"));
  const library = join(place, "other-clock.so");
  const remove = (): void => rmSync(place, { recursive: true, force: true });
  const fault = makeLibrary("other-clock.c", library);
  if (fault !== undefined) {
    remove();
    return fault;
  }
  const turn = (name: string, minutes: number): void => {
    const offset = Buffer.alloc(8);
    offset.writeBigInt64LE(BigInt(minutes * 60_000));
    // Written over, not anew: processes have it mapped.
    writeFileSync(join(place, name), offset, { flag: "r+" });
  };
  return {
    environment(name) {
      writeFileSync(join(place, name), Buffer.alloc(8), { flag: "a" });
      return { LD_PRELOAD: library, ARGOSY_TEST_CLOCK: join(place, name) };
    },
    turn,
    remove,
  };
}
