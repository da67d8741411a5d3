/** Load on one server: as fast as it answers, or at a rate; with the CPU time that it takes. */
import { openLanes } from "./connections.js";
import { cpuSecondsOf } from "./processes.js";
import type { Request } from "./workload.js";

/** Where a load goes. */
export interface Target {
  readonly port: number;
  readonly pid: number;
}

/** What a load took. */
export interface LoadResult {
  readonly requests: number;
  readonly perSecond: number;
  /** User and system time of the server, all its processes, over the answers. */
  readonly cpuUs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Asks with so many requests under way at once, for `seconds` after a warm-up. Throws when an answer is none of success. */
export async function closedLoop(
  target: Target,
  request: Request,
  { lanes: count, seconds, warmUp }: { lanes: number; seconds: number; warmUp: number },
): Promise<LoadResult> {
  const lanes = await openLanes(target.port, request, count);
  let latencies: number[] = [];
  let isOver = false;
  const turn = (lane: (typeof lanes.lanes)[number]): void => {
    const begun = performance.now();
    lane.ask(() => {
      latencies.push(performance.now() - begun);
      if (!isOver) turn(lane);
    });
  };
  try {
    for (const lane of lanes.lanes) turn(lane);
    await Promise.race([pause(warmUp * 1000), lanes.failed]);
    latencies = [];
    const cpu = cpuSecondsOf(target.pid);
    const begun = performance.now();
    await Promise.race([pause(seconds * 1000), lanes.failed]);
    const used = cpuSecondsOf(target.pid) - cpu;
    return resultOf(latencies, used, (performance.now() - begun) / 1000);
  } finally {
    isOver = true;
    lanes.close();
  }
}

/** Requests that are due at a fixed rate, whether or not those before are answered; latencies count from when they were due. */
export async function openLoop(
  target: Target,
  request: Request,
  { perSecond, seconds, warmUp }: { perSecond: number; seconds: number; warmUp: number },
): Promise<LoadResult> {
  const lanes = await openLanes(target.port, request, 64);
  const idle = [...lanes.lanes];
  // What the generator leaves to its collector is waited for by the answers: no lists grow here.
  const latencies = new Float64Array(Math.ceil((warmUp + seconds) * perSecond) + 1);
  let answered = 0;
  const begun = performance.now();
  const end = begun + (warmUp + seconds) * 1000;
  const dueAt = (index: number): number => begun + (index * 1000) / perSecond;
  let sent = 0;
  let cpu: number | undefined;
  const send = (): void => {
    for (const now = performance.now(); idle.length > 0 && dueAt(sent) <= now; sent++) {
      const lane = idle.pop();
      const at = dueAt(sent);
      lane?.ask(() => {
        if (at >= begun + warmUp * 1000 && answered < latencies.length) latencies[answered++] = performance.now() - at;
        idle.push(lane);
        send();
      });
    }
  };
  try {
    await Promise.race([
      lanes.failed,
      new Promise<void>((resolve) => {
        // Turn by turn: timers are too coarse.
        const tick = (): void => {
          const now = performance.now();
          if (now >= end) {
            resolve();
            return;
          }
          if (now >= begun + warmUp * 1000) cpu ??= cpuSecondsOf(target.pid);
          send();
          setImmediate(tick);
        };
        tick();
      }),
    ]);
    return resultOf(latencies.subarray(0, answered), cpuSecondsOf(target.pid) - (cpu ?? 0), seconds);
  } finally {
    lanes.close();
  }
}

/** One answer, read. */
export async function askOnce(port: number, request: Request): Promise<number[]> {
  const lanes = await openLanes(port, request, 1);
  try {
    const [lane] = lanes.lanes;
    await Promise.race([lanes.failed, new Promise<void>((resolve) => lane?.ask(resolve))]);
    if (lane === undefined) return [];
    const { head, body, isChunked } = lane.answer;
    return request.read({ head, body: isChunked === true ? joinChunks(body) : body });
  } finally {
    lanes.close();
  }
}

function joinChunks(body: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const end = body.indexOf("\r\n", at);
    const size = Number.parseInt(body.toString("latin1", at, end), 16);
    if (!(size > 0)) return Buffer.concat(parts);
    parts.push(body.subarray(end + 2, end + 2 + size));
    at = end + 4 + size;
  }
}

function resultOf(latencies: readonly number[] | Float64Array, cpuSeconds: number, seconds: number): LoadResult {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share: number): number => round(sorted[Math.floor(sorted.length * share)] ?? Number.NaN, 2);
  return {
    requests: sorted.length,
    perSecond: Math.round(sorted.length / seconds),
    cpuUs: round((cpuSeconds / sorted.length) * 1e6, 1),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
  };
}

/** So many digits behind the point. */
export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** Milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
