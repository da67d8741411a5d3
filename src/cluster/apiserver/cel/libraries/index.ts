/** Kubernetes' function libraries for CEL. In: an engine. Out: the engine with functions. May use: kernel kinds and schema. */
import { Engine } from "../engine.unsafe.js";
import { defineLists } from "./lists.js";
import { defineMath } from "./math.js";
import { defineNetworks } from "./networks.js";
import { defineNumbers } from "./numbers.js";
import { defineTexts } from "./texts.js";

let shared: Engine | undefined;

/** The language with Kubernetes' functions; made once. Extend a child of it. */
export function libraryEngine(): Engine {
  if (shared !== undefined) return shared.child();
  const engine = Engine.bare();
  for (const define of [defineLists, defineTexts, defineNumbers, defineMath, defineNetworks]) define(engine);
  shared = engine;
  return engine.child();
}
