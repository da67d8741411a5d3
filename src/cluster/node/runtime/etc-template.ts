import { existsSync, lstatSync, readFileSync, realpathSync } from "node:fs";
import { basename, join } from "node:path";
import { NodeError } from "../errors.js";
import { isWithin } from "./mount-table.js";
import { hostTrees } from "./rootfs.js";

const etcEntries = [
  "passwd",
  "group",
  "services",
  "protocols",
  "host.conf",
  "resolv.conf",
  "gai.conf",
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "localtime",
  "timezone",
  "mime.types",
  "os-release",
  "profile",
  "bash.bashrc",
  "magic",
  "locale.conf",
  "alternatives",
  "fonts",
  "ca-certificates",
  "ca-certificates.conf",
  "pki",
  "crypto-policies",
  "openssl",
  "gnutls",
  "ImageMagick-6",
  "python3",
  "python3.11",
  "python3.12",
  "python3.13",
  "jupyter",
  "OpenCL",
  "vulkan",
];

/**
 * Fills `folder` with the harmless part of the machine's /etc: names, certificates, loader. Never keys or shadow files.
 * `nameserver` stands in for the machine's resolvers.
 */
export async function buildEtcTemplate(folder: string, nameserver?: string): Promise<void> {
  const { cp, mkdir, readFile, rm, writeFile } = await import("node:fs/promises");
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, "ssl"), { recursive: true });
  for (const name of etcEntries) await copy(cp, join("/etc", name), join(folder, name));
  for (const name of ["certs", "cert.pem", "openssl.cnf"])
    await copy(cp, join("/etc/ssl", name), join(folder, "ssl", name));
  if (nameserver !== undefined) {
    const file = join(folder, "resolv.conf");
    const others = existsSync(file) ? (await readFile(file, "utf8")).replace(/^\s*nameserver\b.*\n?/gm, "") : "";
    await writeFile(file, `nameserver ${nameserver}\n${others}`);
  }
  await writeFile(
    join(folder, "nsswitch.conf"),
    "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n",
  );
}

type CopyFunction = typeof import("node:fs/promises").cp;

async function copy(cp: CopyFunction, from: string, to: string): Promise<void> {
  if (!existsSync(from)) return;
  const isLink = lstatSync(from).isSymbolicLink();
  // Links into what pods see stay links (localtime); others (resolv.conf into /run) become files.
  const dereference = isLink && !hostTrees.some((tree) => isWithin(realpathSync(from), tree));
  try {
    await cp(from, to, { recursive: true, dereference, verbatimSymlinks: !dereference, filter: isReadable });
  } catch (error) {
    throw new NodeError("EtcTemplate", `copying ${basename(from)} for pods failed`, { cause: error });
  }
}

function isReadable(path: string): boolean {
  try {
    if (lstatSync(path).isSymbolicLink()) return true;
    readFileSync(path, { flag: "r" });
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EISDIR";
  }
}
