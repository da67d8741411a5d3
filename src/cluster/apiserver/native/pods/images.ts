const part = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const host = `(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const reference = new RegExp(
  `^${host}/(${part}(?:/${part})*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$`,
);
const digests = /^(sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128})$/;
const longestRepository = 255;

/** Splits the server off, as `docker pull` understands names. */
function withHost(image: string): string {
  const slash = image.indexOf("/");
  const first = slash === -1 ? "" : image.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === "localhost" || first.toLowerCase() !== first;
  if (isHost) return image;
  return slash === -1 ? `docker.io/library/${image}` : `docker.io/${image}`;
}

/** The tag of an image: `latest` where neither a tag nor a digest is given; empty for what is no image's name. */
export function tagOf(image: string): string {
  if (/^[a-f0-9]{64}$/.test(image)) return "";
  const [, repository = "", tag = "", digest = ""] = reference.exec(withHost(image)) ?? [];
  const isGood = repository !== "" && repository.length <= longestRepository && (digest === "" || digests.test(digest));
  if (!isGood) return "";
  return tag === "" && digest === "" ? "latest" : tag;
}
