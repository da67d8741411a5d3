/** Decision trees of every origin in one form, and walking them. */
import { ModelError } from "../../failures.js";

/** What becomes of a value that is missing. `zero`: NaN counts as 0, and 0 goes the node's default way. `nan`: NaN does. `none`: NaN counts as 0. */
export type Missing = "none" | "zero" | "nan";

/** A node as the formats' readers give it. Children are indices into the tree's nodes; a leaf has none. */
export type TreeNode =
  | { readonly leaf: number; readonly linear?: LinearLeaf }
  | {
      readonly feature: number;
      readonly left: number;
      readonly right: number;
      readonly defaultLeft: boolean;
      readonly missing: Missing;
      /** A number to compare with, or the categories that go to `setSide`. */
      readonly split: number | { readonly categories: readonly number[]; readonly setSide: "left" | "right" };
    };

/** A leaf with a linear model of its own (LightGBM's `linear_tree`); `leaf` counts where one of its features is missing. */
export interface LinearLeaf {
  readonly constant: number;
  readonly features: readonly number[];
  readonly coefficients: readonly number[];
}

/** How values are compared. */
export interface ForestRules {
  /** A value equal to the threshold goes right (XGBoost), not left. */
  readonly strict: boolean;
  /** Values and thresholds are compared as 32-bit floats. */
  readonly single: boolean;
}

const LEAF = -1;
const DEFAULT_LEFT = 1;
const ZERO_IS_MISSING = 2;
const NAN_IS_MISSING = 4;
const CATEGORICAL = 8;
const SET_GOES_LEFT = 16;
/** LightGBM's: what is nearer to 0 is 0. */
const ZERO = 1e-35;
/** Categories beyond this are no categories (XGBoost). */
const MAX_CATEGORY = 2 ** 24;

/** Trees, ready to be walked. */
export class Forest {
  readonly #rules: ForestRules;
  readonly #roots: Int32Array;
  readonly #feature: Int32Array;
  readonly #threshold: Float64Array;
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #flags: Uint8Array;
  readonly #sets = new Map<number, Set<number>>();
  readonly #linear = new Map<number, LinearLeaf>();

  /** Throws `ModelError` when a tree is none: a child that is not there or that two nodes share, a feature beyond those that there are. */
  constructor(trees: readonly (readonly TreeNode[])[], features: number, rules: ForestRules) {
    const total = trees.reduce((sum, tree) => sum + tree.length, 0);
    this.#rules = rules;
    this.#roots = new Int32Array(trees.length);
    this.#feature = new Int32Array(total);
    this.#threshold = new Float64Array(total);
    this.#left = new Int32Array(total).fill(LEAF);
    this.#right = new Int32Array(total).fill(LEAF);
    this.#flags = new Uint8Array(total);
    let base = 0;
    for (const [index, tree] of trees.entries()) {
      checkTree(tree, features, index);
      this.#roots[index] = base;
      for (const [at, node] of tree.entries()) this.#place(node, base + at, base);
      base += tree.length;
    }
  }

  get trees(): number {
    return this.#roots.length;
  }

  /** What tree number `tree` says of the row that begins at `offset`. */
  value(tree: number, rows: Float64Array, offset: number): number {
    let node = this.#roots[tree] ?? 0;
    let left = this.#left[node] ?? LEAF;
    while (left !== LEAF) {
      const value = rows[offset + (this.#feature[node] ?? 0)] ?? Number.NaN;
      node = this.#goesLeft(node, value) ? left : (this.#right[node] ?? 0);
      left = this.#left[node] ?? LEAF;
    }
    const leaf = this.#threshold[node] ?? 0;
    const linear = this.#linear.size === 0 ? undefined : this.#linear.get(node);
    return linear === undefined ? leaf : linearValue(linear, leaf, rows, offset);
  }

  #goesLeft(node: number, given: number): boolean {
    const flags = this.#flags[node] ?? 0;
    let value = given;
    if (Number.isNaN(value)) {
      if (flags & NAN_IS_MISSING) return (flags & DEFAULT_LEFT) !== 0;
      value = 0;
    }
    if (flags & CATEGORICAL) return this.#inLeftSet(node, value, flags);
    if (flags & ZERO_IS_MISSING && Math.abs(value) <= ZERO) return (flags & DEFAULT_LEFT) !== 0;
    const threshold = this.#threshold[node] ?? 0;
    return this.#rules.strict ? value < threshold : value <= threshold;
  }

  #inLeftSet(node: number, value: number, flags: number): boolean {
    const isIn = value >= 0 && value < MAX_CATEGORY && this.#sets.get(node)?.has(Math.trunc(value)) === true;
    return isIn === ((flags & SET_GOES_LEFT) !== 0);
  }

  #place(node: TreeNode, at: number, base: number): void {
    if ("leaf" in node) {
      this.#threshold[at] = node.leaf;
      if (node.linear !== undefined) this.#linear.set(at, node.linear);
      return;
    }
    this.#feature[at] = node.feature;
    this.#left[at] = base + node.left;
    this.#right[at] = base + node.right;
    let flags = node.defaultLeft ? DEFAULT_LEFT : 0;
    if (node.missing === "zero") flags |= ZERO_IS_MISSING;
    if (node.missing === "nan") flags |= NAN_IS_MISSING;
    if (typeof node.split === "number") {
      this.#threshold[at] = this.#rules.single ? Math.fround(node.split) : node.split;
    } else {
      flags |= CATEGORICAL | (node.split.setSide === "left" ? SET_GOES_LEFT : 0);
      this.#sets.set(at, new Set(node.split.categories));
    }
    this.#flags[at] = flags;
  }
}

function linearValue(linear: LinearLeaf, leaf: number, rows: Float64Array, offset: number): number {
  let sum = linear.constant;
  for (const [index, feature] of linear.features.entries()) {
    const value = rows[offset + feature] ?? Number.NaN;
    if (Number.isNaN(value)) return leaf;
    sum += value * (linear.coefficients[index] ?? 0);
  }
  return sum;
}

/** A walk from the root must end: every node is reached once. */
function checkTree(tree: readonly TreeNode[], features: number, index: number): void {
  const broken = (why: string): ModelError => new ModelError("ModelLoadFailed", `tree ${index}: ${why}`);
  const seen = new Uint8Array(tree.length);
  const open = [0];
  for (let at = open.pop(); at !== undefined; at = open.pop()) {
    const node = tree[at];
    if (node === undefined) throw broken(`node ${at} is not there`);
    if (seen[at] === 1) throw broken(`node ${at} has two parents`);
    seen[at] = 1;
    if ("leaf" in node) {
      if (node.linear?.features.some((feature) => !isIndex(feature, features)) === true)
        throw broken(`leaf ${at} uses a feature beyond the ${features} that there are`);
      continue;
    }
    if (!isIndex(node.feature, features))
      throw broken(`node ${at} splits feature ${node.feature}, but there are ${features}`);
    open.push(node.left, node.right);
  }
}

const isIndex = (value: number, length: number): boolean => Number.isInteger(value) && value >= 0 && value < length;
