import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect } from "vitest";
import { unless } from "../../../../testing/unless.js";
import { type Closers, openRepository, scale, tensor } from "../../models.fixture.js";

const closers: Closers = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function without(program: string, args: readonly string[], what: string): string | undefined {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return undefined;
  } catch {
    return what;
  }
}

const noPython = without("python3", ["--version"], "no python3 here");
const noNamespaces = noPython ?? without("unshare", ["-Urnmp", "--fork", "true"], "a process gets no namespaces here");
const test = unless(noPython);
const confined = unless(noNamespaces);

const model = `
import os
inputs = [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
outputs = [{"name": "y", "datatype": "FP64", "shape": [-1, 2]}, {"name": "word", "datatype": "BYTES", "shape": [-1]}]
factor = 1

class Unprocessable(Exception):
    status = 422

def load(context):
    global factor
    factor = float(context["parameters"].get("factor", 2))

def predict(values):
    print("models may print")
    rows = [[float(v) for v in row] for row in values["x"]]
    first = rows[0][0]
    if first == 404: raise Unprocessable("no such thing")
    if first == 500: raise ValueError("broken")
    if first == 13:
        while True: pass
    if first == 14: os._exit(3)
    if first == 15:
        held = []
        while True: held.append(bytearray(1 << 24))
    if first == 17: return {"y": [[len(os.environ), 0.0]], "word": [",".join(sorted(os.environ))]}
    if first == 18:
        try:
            open("${join(tmpdir(), "argosy-python-escaped")}", "w").close()
            return {"y": rows, "word": ["wrote"]}
        except OSError as error:
            return {"y": rows, "word": [type(error).__name__]}
    if first == 19:
        import socket
        try:
            socket.create_connection(("127.0.0.1", int(rows[0][1])), 1)
            return {"y": rows, "word": ["connected"]}
        except OSError:
            return {"y": rows, "word": ["alone"]}
    if first == 20: return {"y": [[os.getpid(), len([p for p in os.listdir("/proc") if p.isdigit()])]], "word": ["pids"]}
    return {"y": [[v * factor for v in row] for row in rows], "word": ["row %d" % i for i in range(len(rows))]}
`;
const row = (a: number, b: number) => [tensor("x", "FP32", Float32Array.of(a, b), [1, 2])];
const config = (parameters: Record<string, string>) => JSON.stringify({ parameters });

test("a model in Python: what it gives, refuses and breaks, each answered as such; nothing of our environment", async () => {
  process.env["ARGOSY_TEST_SECRET"] = "s3cret";
  const { repository } = await openRepository(
    { "m/config.json": config({ factor: "3" }), "m/1/model.py": model },
    closers,
  );
  const { batcher, platform } = repository.find("m");
  const failed = (a: number) => batcher.infer(row(a, 0)).catch((error: unknown) => error);

  expect(platform).toBe("python");
  expect(await batcher.infer([tensor("x", "FP32", Float32Array.of(1, 2, 3, 4), [2, 2])])).toEqual([
    tensor("y", "FP64", Float64Array.of(3, 6, 9, 12), [2, 2]),
    tensor("word", "BYTES", ["row 0", "row 1"]),
  ]);
  expect(await failed(404)).toMatchObject({ status: 422, message: expect.stringContaining("no such thing") });
  expect(await failed(500)).toMatchObject({ status: 500, message: expect.stringContaining("ValueError: broken") });
  const [, environment] = await batcher.infer(row(17, 0));
  expect(environment?.data[0]).not.toMatch(/SECRET|HOME|NODE/);
});

const poisons = [
  { what: "loops for ever", poison: 13, wanted: { status: 504, kind: "timeout" } },
  { what: "ends its process", poison: 14, wanted: { status: 503, kind: "crash" } },
  { what: "eats memory", poison: 15, wanted: { status: 503, kind: "memory" } },
];
for (const { what, poison, wanted } of poisons) {
  test(`a model in Python that ${what} is ended, and answers again; others do not notice`, async () => {
    const { repository } = await openRepository(
      {
        "m/config.json": config({ run_timeout_ms: "3000", memory_limit_bytes: `${2 ** 27}` }),
        "m/1/model.py": model,
        "fine/1/model.onnx": scale(5),
      },
      closers,
    );
    const { batcher } = repository.find("m");

    const poisoned = batcher.infer(row(poison, 0)).catch((error: unknown) => error);
    const fine = await repository.find("fine").batcher.infer(row(1, 1));

    expect(fine[0]?.data[0]).toBe(5);
    expect(await poisoned).toMatchObject(wanted);
    expect((await batcher.infer(row(4, 5)))[0]?.data).toEqual(Float64Array.of(8, 10));
  });
}

confined("it can write no file, reach no network and see no other process", async () => {
  const { repository } = await openRepository({ "m/1/model.py": model }, closers);
  const { batcher } = repository.find("m");

  expect((await batcher.infer(row(18, 0)))[1]?.data[0]).toBe("OSError");
  expect(existsSync(join(tmpdir(), "argosy-python-escaped"))).toBe(false);
  expect((await batcher.infer(row(19, 22)))[1]?.data[0]).toBe("alone");
  expect((await batcher.infer(row(20, 0)))[0]?.data).toEqual(Float64Array.of(1, 1));
});

/** A pickle (protocol 0) that calls os.system as it is opened. */
const malicious = (command: string): string => `cposix\nsystem\n(V${command}\ntR.`;

confined("a pickle is refused unless allowed; a malicious one harms nothing but its own process", async () => {
  const mark = join(tmpdir(), `argosy-pickle-escaped-${process.pid}`);
  const files = { "p/1/model.pkl": malicious(`touch ${mark}; kill -9 -1`), "fine/1/model.onnx": scale(5) };
  const refused = await openRepository(files, closers);
  const opened = await openRepository(files, closers, { limits: { allowPickles: "yes" } });
  const of = ({ repository }: typeof refused) => repository.index().find(({ name }) => name === "p");

  expect(of(refused)?.reason).toMatch(/^ModelRefused: .*pickle/);
  expect(of(opened)).toMatchObject({ state: "UNAVAILABLE", reason: expect.stringMatching(/^ModelLoadFailed: /) });
  expect(existsSync(mark)).toBe(false);
  expect((await opened.repository.find("fine").batcher.infer(row(1, 1)))[0]?.data[0]).toBe(5);
});

test("a Python that is not there, or lacks a package, is told as such", async () => {
  const missing = await openRepository({ "m/1/model.py": "import no_such_package" }, closers);
  const nowhere = await openRepository({ "m/1/model.py": model }, closers, { limits: { python: "/no/such/python" } });

  expect(missing.repository.index()[0]?.reason).toMatch(/^RuntimeUnavailable: .*no_such_package/);
  expect(nowhere.repository.index()[0]?.reason).toMatch(/^(ModelLoadFailed|RuntimeUnavailable): /);
});
