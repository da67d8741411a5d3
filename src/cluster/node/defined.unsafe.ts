/**
 * The members that are not `undefined`: for building objects whose optional members must be absent. Unsafe because the type
 * checker cannot follow `Object.fromEntries`.
 */
export function definedOnly<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
