/** Bytes in base64, as JSON carries them. */

/** The bytes of a text in base64 (RFC 4648; padding may be left out, white space is passed over); `undefined` when it is none. */
export function decodeBase64(text: string): Buffer | undefined {
  const written = /\s/.test(text) ? text.replaceAll(/\s/g, "") : text;
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(written)) return undefined;
  const padded = written.endsWith("=");
  if (padded ? written.length % 4 !== 0 : written.length % 4 === 1) return undefined;
  return Buffer.from(written, "base64");
}
