/** Longer queries are rarely sent twice. */
const maxLength = 200;
const maxKept = 256;
const kept = new Map<string, URLSearchParams>();

/** The query of a request's target (path and query). Nobody changes it: clients send the same few queries all the time, and those are read once. */
export function queryOf(target: string): URLSearchParams {
  const mark = target.indexOf("?");
  const text = mark < 0 ? "" : target.slice(mark + 1);
  const known = kept.get(text);
  if (known !== undefined) return known;
  const query = new URLSearchParams(text);
  if (text.length > maxLength) return query;
  if (kept.size >= maxKept) kept.clear();
  kept.set(text, query);
  return query;
}
