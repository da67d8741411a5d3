/** Kubernetes' function libraries for CEL. In: an engine. Out: the engine with functions. May use: kernel kinds and schema. */
import { defineAuthorizer } from "../authorizer.js";
import { Engine } from "../language/index.js";
import { formatFaults } from "./format-check.js";
import { defineFormats } from "./formats.js";
import { defineLists } from "./lists.js";
import { defineNetworks } from "./networks.js";
import { defineNumbers } from "./numbers.js";
import { defineTexts } from "./texts.js";
import { defineUrls } from "./urls.js";

let shared: Engine | undefined;

/** The language with Kubernetes' functions; made once. Extend a child of it. */
export function libraryEngine(): Engine {
  if (shared !== undefined) return shared.child();
  const engine = Engine.bare(formatFaults);
  for (const define of [
    defineLists,
    defineTexts,
    defineNumbers,
    defineNetworks,
    defineUrls,
    defineFormats,
    defineAuthorizer,
  ])
    define(engine);
  shared = engine;
  return engine.child();
}
