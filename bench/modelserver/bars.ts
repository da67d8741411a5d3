/** Figures of the rounds, and what they are held against. */
import { type LoadResult, round } from "./load.js";
import type { SubjectName } from "./subjects.js";
import type { Form } from "./workload.js";

/** One load of one round. */
export interface Row extends LoadResult {
  readonly server: SubjectName;
  readonly form: Form;
  readonly lanes: number;
}

/** One start. */
export interface Start {
  readonly server: SubjectName;
  readonly ms: number;
  readonly cpuMs: number;
}

interface Results {
  readonly rows: readonly Row[];
  readonly half: readonly Row[];
  readonly starts: readonly Start[];
}

/** Least and median of the rounds; a ratio is of this server's to the peer's, of the medians and of the least. */
interface Bar {
  readonly figure: string;
  readonly own: { readonly least: number; readonly median: number };
  readonly peer?: { readonly least: number; readonly median: number };
  readonly ratio?: { readonly ofLeast: number; readonly ofMedians: number };
  readonly atMost: number;
  readonly holds: boolean;
}

/** All bars whose figures were taken; a ratio holds by the medians. */
export function barsOf({ rows, half, starts }: Results): Bar[] {
  const bars: Bar[] = [];
  const cpu = (server: SubjectName, form: Form, lanes: number): number[] =>
    rows.filter((row) => row.server === server && row.form === form && row.lanes === lanes).map(({ cpuUs }) => cpuUs);
  const beside = (figure: string, own: number[], peer: number[], atMost: number): void => {
    if (own.length === 0 || peer.length === 0) return;
    const [ours, theirs] = [spread(own), spread(peer)];
    const ratio = { ofLeast: round(ours.least / theirs.least, 4), ofMedians: round(ours.median / theirs.median, 4) };
    bars.push({ figure, own: ours, peer: theirs, ratio, atMost: round(atMost, 4), holds: ratio.ofMedians <= atMost });
  };
  for (const lanes of [16, 64]) {
    const at = `, ${lanes} at once`;
    const compare = (what: string, form: Form, server: SubjectName, atMost: number): void =>
      beside(`CPU µs, ${what}${at}, beside ${server}`, cpu("argosy", form, lanes), cpu(server, form, lanes), atMost);
    compare("small V2 JSON", "json", "fastapi", 1 / 4);
    compare("small V2 JSON", "json", "kserve", 1 / 12);
    compare("small V2 JSON", "json", "mlserver", 1 / 12);
    compare("small V2 gRPC", "grpc", "kserve", 1 / 5);
    compare("64 rows binary", "binary", "fastapi", 1 / 2);
  }
  const alone = (figure: string, own: number[], atMost: number): void => {
    if (own.length === 0) return;
    const ours = spread(own);
    bars.push({ figure, own: ours, atMost, holds: ours.median <= atMost });
  };
  alone(
    "p99 ms of small V2 JSON at half of its full load",
    half.filter(({ server }) => server === "argosy").map(({ p99Ms }) => p99Ms),
    5,
  );
  alone(
    "ms from process start to first answer",
    starts.filter(({ server }) => server === "argosy").map(({ ms }) => ms),
    400,
  );
  return bars;
}

function spread(values: readonly number[]): { least: number; median: number } {
  const sorted = values.toSorted((a, b) => a - b);
  return { least: sorted[0] ?? Number.NaN, median: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN };
}
