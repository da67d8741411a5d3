/** The parts of `http://HOST[:PORT]` or `https://HOST[:PORT]`; undefined when it is neither. */
export function parseUrl(
  text: string,
): { readonly host: string; readonly address: string; readonly isSecure: boolean } | undefined {
  const match = /^(https?):\/\/([^/?#@\s]+)\/?$/.exec(text);
  if (match?.[2] === undefined) return undefined;
  const isSecure = match[1] === "https";
  const hasPort = /:\d+$/.test(match[2]);
  const place = hasPort ? match[2] : `${match[2]}:${isSecure ? 443 : 80}`;
  // Names below .localhost are this machine (RFC 6761 §6.3), also where its resolver does not know that.
  return { host: match[2], address: place.replace(/^[^:]+\.localhost(?=:\d+$)/i, "127.0.0.1"), isSecure };
}
