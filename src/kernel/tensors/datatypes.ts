/** Element types of the Open Inference Protocol and how their values lie in memory. */

/** Elements of BYTES: texts, and bytes where they are no UTF-8. */
export type TextData = (string | Uint8Array)[];

/** Every array in which tensor elements are held; FP16 and BF16 as their bits. */
export type TensorData =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigUint64Array
  | BigInt64Array
  | Float32Array
  | Float64Array
  | TextData;

interface TypeInfo {
  /** Name in onnxruntime. */
  readonly ort: string;
  /** Bytes of one element in the binary extension; 0: each element has its own length. */
  readonly bytes: number;
  readonly form: "bool" | "integer" | "bigint" | "half" | "float" | "text";
  readonly min?: number | bigint;
  readonly max?: number | bigint;
  readonly make: (length: number) => TensorData;
  /** A view of `length` elements at an aligned offset. */
  readonly view: (buffer: ArrayBufferLike, offset: number, length: number) => TensorData;
}

const noView = (): TensorData => [];

/** The datatypes that a request may name. */
export const DATATYPES = {
  BOOL: {
    ort: "bool",
    bytes: 1,
    form: "bool",
    make: (n) => new Uint8Array(n),
    view: (b, o, n) => new Uint8Array(b, o, n),
  },
  UINT8: {
    ort: "uint8",
    bytes: 1,
    form: "integer",
    min: 0,
    max: 255,
    make: (n) => new Uint8Array(n),
    view: (b, o, n) => new Uint8Array(b, o, n),
  },
  UINT16: {
    ort: "uint16",
    bytes: 2,
    form: "integer",
    min: 0,
    max: 65535,
    make: (n) => new Uint16Array(n),
    view: (b, o, n) => new Uint16Array(b, o, n),
  },
  UINT32: {
    ort: "uint32",
    bytes: 4,
    form: "integer",
    min: 0,
    max: 4294967295,
    make: (n) => new Uint32Array(n),
    view: (b, o, n) => new Uint32Array(b, o, n),
  },
  UINT64: {
    ort: "uint64",
    bytes: 8,
    form: "bigint",
    min: 0n,
    max: (1n << 64n) - 1n,
    make: (n) => new BigUint64Array(n),
    view: (b, o, n) => new BigUint64Array(b, o, n),
  },
  INT8: {
    ort: "int8",
    bytes: 1,
    form: "integer",
    min: -128,
    max: 127,
    make: (n) => new Int8Array(n),
    view: (b, o, n) => new Int8Array(b, o, n),
  },
  INT16: {
    ort: "int16",
    bytes: 2,
    form: "integer",
    min: -32768,
    max: 32767,
    make: (n) => new Int16Array(n),
    view: (b, o, n) => new Int16Array(b, o, n),
  },
  INT32: {
    ort: "int32",
    bytes: 4,
    form: "integer",
    min: -2147483648,
    max: 2147483647,
    make: (n) => new Int32Array(n),
    view: (b, o, n) => new Int32Array(b, o, n),
  },
  INT64: {
    ort: "int64",
    bytes: 8,
    form: "bigint",
    min: -(1n << 63n),
    max: (1n << 63n) - 1n,
    make: (n) => new BigInt64Array(n),
    view: (b, o, n) => new BigInt64Array(b, o, n),
  },
  FP16: {
    ort: "float16",
    bytes: 2,
    form: "half",
    make: (n) => new Uint16Array(n),
    view: (b, o, n) => new Uint16Array(b, o, n),
  },
  BF16: {
    ort: "bfloat16",
    bytes: 2,
    form: "half",
    make: (n) => new Uint16Array(n),
    view: (b, o, n) => new Uint16Array(b, o, n),
  },
  FP32: {
    ort: "float32",
    bytes: 4,
    form: "float",
    make: (n) => new Float32Array(n),
    view: (b, o, n) => new Float32Array(b, o, n),
  },
  FP64: {
    ort: "float64",
    bytes: 8,
    form: "float",
    make: (n) => new Float64Array(n),
    view: (b, o, n) => new Float64Array(b, o, n),
  },
  BYTES: { ort: "string", bytes: 0, form: "text", make: () => [], view: noView },
} as const satisfies Record<string, TypeInfo>;

/** A datatype's name. */
export type Datatype = keyof typeof DATATYPES;

const BY_NAME = new Map<string, Datatype>();
const BY_ORT = new Map<string, Datatype>();
for (const name of Object.keys(DATATYPES)) {
  if (isName(name)) {
    BY_NAME.set(name, name);
    BY_ORT.set(DATATYPES[name].ort, name);
  }
}

function isName(name: string): name is Datatype {
  return Object.hasOwn(DATATYPES, name);
}

/** The datatype of that name; `undefined` for any other text. */
export const datatypeOf = (name: string): Datatype | undefined => BY_NAME.get(name);

/** The datatype of an onnxruntime element type. */
export const datatypeOfOrt = (type: string): Datatype | undefined => BY_ORT.get(type);

/** What is known of a datatype. */
export const typeInfo = (datatype: Datatype): TypeInfo => DATATYPES[datatype];

/** One tensor, in or out. `shape`'s product is the number of elements. */
export interface TensorValue {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  readonly data: TensorData;
}

/** A tensor as a model declares it; -1 is a dimension of any size. */
export interface TensorSpec {
  readonly name: string;
  readonly datatype: Datatype;
  readonly shape: readonly number[];
  /** Datatypes that a request may have in place of the declared one. */
  readonly alsoTakes?: readonly Datatype[];
  /** JSON's null stands for a missing value (NaN). */
  readonly nullIsNaN?: boolean;
  /** Of BYTES: only texts without a NUL can be given. */
  readonly isText?: boolean;
}
