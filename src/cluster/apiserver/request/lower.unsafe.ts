/** `toLowerCase` with the type that it deserves; the compiler's own result type is plain string. */
export function lowerCase(text: string): Lowercase<string> {
  return text.toLowerCase() as Lowercase<string>;
}
