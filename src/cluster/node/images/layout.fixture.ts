import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { findProgram, runCommandSync } from "../commands.js";

interface Blob {
  readonly digest: string;
  readonly size: number;
}

/** An OCI layout in the making. */
export interface LayoutDraft {
  readonly layout: string;
  readonly put: (content: Buffer | string) => Blob;
  readonly index: (manifests: object[]) => void;
}

/** Begins an OCI layout in a new folder below `folder`. */
export function newLayout(folder: string): LayoutDraft {
  const layout = mkdtempSync(join(folder, "layout-"));
  mkdirSync(join(layout, "blobs", "sha256"), { recursive: true });
  writeFileSync(join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  return {
    layout,
    put: (content) => {
      const hash = createHash("sha256").update(content).digest("hex");
      writeFileSync(join(layout, "blobs", "sha256", hash), content);
      return { digest: `sha256:${hash}`, size: content.length };
    },
    index: (manifests) => writeFileSync(join(layout, "index.json"), JSON.stringify({ manifests })),
  };
}

/** An OCI layout with one image of these layers (gzip). */
export function layoutOf(folder: string, layers: readonly Buffer[], config: object = {}): string {
  const { put, index, layout } = newLayout(folder);
  const mediaType = "application/vnd.oci.image.layer.v1.tar+gzip";
  const parts = layers.map((layer) => ({ ...put(layer), mediaType }));
  index([put(JSON.stringify({ schemaVersion: 2, config: put(JSON.stringify({ config })), layers: parts }))]);
  return layout;
}

/** A layer of what `fill` puts into a folder; `options` are tar's. */
export function layerOf(folder: string, fill: (folder: string) => void, ...options: string[]): Buffer {
  const from = mkdtempSync(join(folder, "layer-"));
  fill(from);
  execFileSync("tar", ["-czf", `${from}.tgz`, ...options, "-C", from, ...readdirSync(from)]);
  return readFileSync(`${from}.tgz`);
}

/** Puts files with these texts into a folder. */
export const files =
  (content: Readonly<Record<string, string>>) =>
  (to: string): void => {
    for (const [name, text] of Object.entries(content)) {
      mkdirSync(join(to, name, ".."), { recursive: true });
      writeFileSync(join(to, name), text);
    }
  };

/** Puts programs of this machine into a folder's /bin, and where the machine has them, with the libraries that they load. */
export const programs =
  (...names: string[]) =>
  (to: string): void => {
    const copy = (from: string, path: string): void => {
      mkdirSync(dirname(join(to, path)), { recursive: true });
      copyFileSync(realpathSync(from), join(to, path));
    };
    for (const name of names) {
      const program = findProgram(name);
      if (program === undefined) throw new Error(`no ${name} on this machine`);
      for (const path of [program, `/bin/${name}`]) copy(program, path);
      const libraries = runCommandSync("/usr/bin/env", ["ldd", program]).stdout.matchAll(/(\/\S+) \(0x/g);
      for (const [, path = ""] of libraries) copy(path, path);
    }
  };
