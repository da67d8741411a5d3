import type { Fault, Token } from "./tokens.js";

/** What is wrong with the words of a text that is no expression. */
export function syntaxFaults(tokens: readonly Token[], _characters: readonly string[]): Fault[] {
  return [{ message: "Syntax error", at: tokens.at(-1)?.at ?? 0 }];
}
