import { afterEach, expect, test, vi } from "vitest";
import { InputError } from "../errors/index.js";
import { readCollector, readFlags, readWhole, runProgram } from "./index.js";

afterEach(() => void vi.restoreAllMocks());

const OPTIONS = { http: { type: "string" }, help: { type: "boolean" } } as const;

test("flags are read, and what is none is named", () => {
  expect({ ...readFlags(["--http=1", "--help"], OPTIONS) }).toEqual({ http: "1", help: true });
  expect(() => readFlags(["--htp=1"], OPTIONS)).toThrow("--htp");
});

test("numbers are whole and within their bounds", () => {
  expect([readWhole("n", undefined, [0, 9]), readWhole("n", "9", [0, 9]), readWhole("n", "0", [0, 9])]).toEqual([
    ...[undefined, 9, 0],
  ]);
  for (const text of ["", "10", "-1", "1.5", "x"])
    expect(() => readWhole("n", text, [0, 9])).toThrow(`--n is "${text}"; expected a whole number from 0 to 9`);
});

test("a flag goes before OpenTelemetry's own variables, of which the exact one goes first", () => {
  const base = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://a/" };
  const both = { ...base, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://b/x" };
  expect([readCollector("http://c", both), readCollector(undefined, both), readCollector(undefined, base)]).toEqual([
    ...["http://c", "http://b/x", "http://a/v1/traces"],
  ]);
  expect([readCollector(undefined, {}), readCollector(undefined, { OTEL_EXPORTER_OTLP_ENDPOINT: "" })]).toEqual([
    ...[undefined, undefined],
  ]);
  expect(() => readCollector("collector:4318", {})).toThrow("collector:4318");
});

test("bad input is an exit code and a word; everything else is thrown", async () => {
  const written: string[] = [];
  vi.spyOn(process.stderr, "write").mockImplementation((text) => written.push(String(text)) > 0);
  const told: string[] = [];
  const onInvalid = async ({ message }: InputError) => void told.push(message);
  const fail = () => Promise.reject(new InputError("no such flag"));
  expect([await runProgram("p", async () => 1), await runProgram("p", fail, onInvalid)]).toEqual([1, 2]);
  expect([written, told]).toEqual([["p: no such flag\n"], ["no such flag"]]);
  await expect(runProgram("p", () => Promise.reject(new TypeError("x")), onInvalid)).rejects.toThrow("x");
});
