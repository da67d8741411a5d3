import type { ImageOverrider } from "./types.js";

/** The parts of an image's name. */
interface ImageName {
  readonly registry: string;
  readonly repository: string;
  readonly tag: string;
  readonly digest: string;
}

const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const host =
  "(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?";
const tagPattern = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
const digestPattern = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
const whole = new RegExp(
  `^((?:${host}/)?${component}(?:/${component})*)(?::(${tagPattern}))?(?:@(${digestPattern}))?$`,
);
const isTag = new RegExp(`^${tagPattern}$`);
const isDigest = new RegExp(`^${digestPattern}$`);
const maxLength = 1024;

/** Takes an image's name apart, as the distribution specification has it; `undefined` when it is none. */
function parseImage(image: string): ImageName | undefined {
  if (image.length > maxLength) return undefined;
  const [, name, tag = "", digest = ""] = whole.exec(image) ?? [];
  if (name === undefined) return undefined;
  const slash = name.indexOf("/");
  const first = name.slice(0, Math.max(slash, 0));
  // Without a dot, a port or this name the first part is of the repository.
  const isRegistry = /[.:]/.test(first) || first === "localhost";
  return {
    registry: isRegistry ? first : "",
    repository: isRegistry ? name.slice(slash + 1) : name,
    tag,
    digest,
  };
}

function formatImage({ registry, repository, tag, digest }: ImageName): string {
  const name = registry === "" ? repository : `${registry}/${repository}`;
  return `${name}${tag === "" ? "" : `:${tag}`}${digest === "" ? "" : `@${digest}`}`;
}

/** The image's name with one part changed, or why that cannot be. A digest stays until the tag beside it is changed. */
export function overriddenImage(
  image: string,
  { component: part, operator, value = "" }: ImageOverrider,
): { readonly image: string } | { readonly fault: string } {
  const name = parseImage(image);
  if (name === undefined) return { fault: `"${image}" is no name of an image` };
  const edit = (old: string): string => (operator === "add" ? old + value : operator === "replace" ? value : "");
  if (part === "Registry") return { image: formatImage({ ...name, registry: edit(name.registry) }) };
  if (part === "Repository") return { image: formatImage({ ...name, repository: edit(name.repository) }) };
  const next = edit(name.tag === "" ? name.digest : name.tag);
  const bare = { ...name, tag: "", digest: "" };
  if (next === "") return { image: formatImage(name.tag === "" ? bare : { ...bare, digest: name.digest }) };
  if (isTag.test(next)) return { image: formatImage({ ...bare, tag: next }) };
  if (isDigest.test(next)) return { image: formatImage({ ...bare, digest: next }) };
  return { fault: `"${next}" is neither a tag nor a digest; ${image} stays` };
}
