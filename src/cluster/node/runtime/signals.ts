import { constants } from "node:os";

const firstRealTime = 34;
const lastRealTime = 64;

/** The number of `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, …; `undefined` for what is no signal. */
export function signalNumber(text: string): number | undefined {
  if (/^\d{1,2}$/.test(text)) return Number(text);
  const name = text.startsWith("SIG") ? text : `SIG${text}`;
  const realTime = /^SIGRT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realTime === null) return new Map<string, number>(Object.entries(constants.signals)).get(name);
  const [, base, sign = "+", offset = "0"] = realTime;
  const number = (base === "MIN" ? firstRealTime : lastRealTime) + Number(`${sign}${offset}`);
  return number >= firstRealTime && number <= lastRealTime ? number : undefined;
}
