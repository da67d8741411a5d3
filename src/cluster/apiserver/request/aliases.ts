/** More values than any object has that fits into a request. */
const maxValues = 1_000_000;

/** Whether a YAML value, written out without aliases, would be endless or far larger than its text (an alias stands for all that it names). */
export function isExcessive(value: unknown): boolean {
  const open: unknown[] = [value];
  let count = 0;
  while (open.length > 0) {
    const current = open.pop();
    if (typeof current !== "object" || current === null) continue;
    const members: unknown[] = Array.isArray(current) ? current : Object.values(current);
    count += members.length;
    if (count > maxValues) return true;
    for (const member of members) open.push(member);
  }
  return false;
}
