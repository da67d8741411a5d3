import { InputError } from "../../kernel/errors/index.js";
import type { Addresses, MemberOptions } from "../../platform/index.js";

/** The fleet of `npm start`. */
const exampleMembers = "cloud=2,edge,far-edge";

/** Help of `--members`. */
export const membersHelp = `members with their numbers of nodes, NAME[=NODES][:pull],…; a pull member fetches its objects itself (default: those of the last start, else ${exampleMembers})`;

/** The members that were up last, as `--members` would say it; those of `npm start` where nothing was. */
export function membersOf(addresses: Addresses | undefined): string {
  const members = (addresses?.clusters ?? []).filter(({ role }) => role === "member");
  return members.length === 0
    ? exampleMembers
    : members.map(({ name, nodes, isPull }) => `${name}=${nodes.length}${isPull === true ? PULL : ""}`).join(",");
}

const PULL = ":pull";

/** Reads `cloud=2,edge:pull,far-edge`: names with their numbers of nodes (default 1), and whether they fetch. Throws `InputError`. */
export function parseMembers(text: string): MemberOptions[] {
  const members = text
    .split(",")
    .filter((part) => part !== "")
    .map((part) => {
      const isPull = part.endsWith(PULL);
      const [name = "", count = "1", ...rest] = (isPull ? part.slice(0, -PULL.length) : part).split("=");
      if (rest.length > 0 || !/^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$/.test(name)) {
        throw new InputError(
          `member ${JSON.stringify(part)}: write NAME or NAME=NODES (and :pull for one that fetches), the name in lower-case letters, digits and -, at most 30`,
        );
      }
      if (name === "hub") {
        throw new InputError("a member cannot be called hub: that is the cluster above all members");
      }
      const nodes = /^\d+$/.test(count) ? Number(count) : Number.NaN;
      if (!(nodes <= 50)) {
        throw new InputError(`member ${name}: ${JSON.stringify(count)} is no number of nodes between 0 and 50`);
      }
      return { name, nodes, ...(isPull ? { isPull } : {}) };
    });
  const twice = members.find((member, index) => members.findIndex((other) => other.name === member.name) !== index);
  if (twice !== undefined) {
    throw new InputError(`member ${twice.name} is named twice`);
  }
  if (members.length > 50) {
    throw new InputError(`${members.length} members: one machine carries up to 50`);
  }
  return members;
}
