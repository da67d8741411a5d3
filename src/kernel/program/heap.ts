import { setFlagsFromString } from "node:v8";

/**
 * Lets the heap of this process double between full collections. V8 by itself collects as soon as that takes the main thread no more than three
 * hundredths of its time; for a server that does little this is every few megabytes, and its helper threads take ten times as much.
 */
export function collectSeldom(): void {
  setFlagsFromString("--heap-growing-percent=100");
}
