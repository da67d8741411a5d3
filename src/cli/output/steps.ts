import type { Clock } from "../../kernel/clock/types.js";
import { messageOf } from "../../kernel/errors/index.js";
import { colours, type Terminal } from "./terminal.js";

/** One step under way. */
export interface Step {
  /** What is happening now; shown beside the title on a live terminal, nowhere else. */
  detail(text: string): void;
}

interface Line {
  readonly title: string;
  readonly started: number;
  state: "running" | "done" | "failed";
  detail: string;
  ended: number;
}

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/**
 * Shows steps as they happen with their times: a live list on a terminal, plain lines elsewhere. Everything goes to stderr.
 */
export class StepList {
  readonly #terminal: Terminal;
  readonly #clock: Clock;
  readonly #lines: Line[] = [];
  #painted = 0;
  #frame = 0;
  #ticking = false;

  constructor(terminal: Terminal, clock: Clock) {
    this.#terminal = terminal;
    this.#clock = clock;
  }

  /** Runs one step; a thrown error marks it as failed and is thrown on. What `work` returns as `summary` is shown when it is done. */
  async run<T>(title: string, work: (step: Step) => Promise<{ summary: string; value: T }>): Promise<T> {
    const line: Line = { title, started: this.#clock.monotonicMs(), state: "running", detail: "", ended: 0 };
    this.#lines.push(line);
    this.#plain(`… ${title}`);
    this.#tick();
    try {
      const result = await work({
        detail: (text) => {
          if (text !== line.detail) {
            line.detail = text;
            this.#paint();
          }
        },
      });
      this.#finish(line, "done", result.summary);
      return result.value;
    } catch (error) {
      this.#finish(line, "failed", messageOf(error));
      throw error;
    }
  }

  /** A remark between steps. */
  note(text: string): void {
    if (this.#terminal.live) {
      this.#erase();
      this.#terminal.err(`  ${text}\n`);
      this.#paint();
    } else {
      this.#plain(`  ${text}`);
    }
  }

  #finish(line: Line, state: "done" | "failed", detail: string): void {
    line.state = state;
    line.detail = detail;
    line.ended = this.#clock.monotonicMs();
    this.#plain(`${state === "done" ? "✔" : "✖"} ${line.title}: ${detail} (${seconds(line.ended - line.started)})`);
    this.#paint();
    if (!this.#running() && this.#terminal.live) {
      this.#lines.length = 0;
      this.#painted = 0;
    }
  }

  #running(): boolean {
    return this.#lines.some((line) => line.state === "running");
  }

  #plain(text: string): void {
    if (!this.#terminal.live) {
      this.#terminal.err(`${text}\n`);
    }
  }

  #tick(): void {
    this.#paint();
    if (this.#ticking || !this.#terminal.live) {
      return;
    }
    this.#ticking = true;
    const again = (): void => {
      this.#frame += 1;
      this.#paint();
      if (this.#running()) {
        this.#clock.setTimer(100, again);
      } else {
        this.#ticking = false;
      }
    };
    this.#clock.setTimer(100, again);
  }

  #erase(): void {
    if (this.#painted > 0) {
      this.#terminal.err(`\u001b[${this.#painted}A\u001b[0J`);
      this.#painted = 0;
    }
  }

  #paint(): void {
    if (!this.#terminal.live) {
      return;
    }
    this.#erase();
    const now = this.#clock.monotonicMs();
    for (const line of this.#lines) {
      this.#terminal.err(`${this.#render(line, now)}\n`);
      this.#painted += 1;
    }
  }

  #render(line: Line, now: number): string {
    const paint = colours(this.#terminal);
    const time = seconds((line.state === "running" ? now : line.ended) - line.started);
    const mark =
      line.state === "done"
        ? paint.green("✔")
        : line.state === "failed"
          ? paint.red("✖")
          : paint.cyan(frames[this.#frame % frames.length] ?? "…");
    // A line that wraps could not be painted over: mark, two gaps and the last column are kept free.
    const title = cut(line.title, this.#terminal.columns - time.length - 5);
    const detail = cut(line.detail.replaceAll("\n", " "), this.#terminal.columns - title.length - time.length - 7);
    return `${mark} ${title}  ${detail === "" ? "" : `${paint.dim(detail)}  `}${paint.dim(time)}`;
  }
}

/** The text in so much room; nothing where that is too little to say anything. */
function cut(text: string, room: number): string {
  return text.length <= room ? text : room < 4 ? "" : `${text.slice(0, room - 1)}…`;
}

/** `0.4 s`, `12 s`. */
export function seconds(ms: number): string {
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`;
}
