import { expect, test } from "vitest";
import { parseBoolean, parseLevel, parseListen, parseNames } from "./options.js";

test("addresses to listen on: host and port, the loopback where no host is named", () => {
  expect(parseListen("--health", "0.0.0.0:80")).toEqual({ host: "0.0.0.0", port: 80 });
  expect(parseListen("--health", ":0")).toEqual({ host: "127.0.0.1", port: 0 });
  expect(parseListen("--health", "[::1]:8080")).toEqual({ host: "::1", port: 8080 });
  for (const wrong of ["80", "host:", "host:70000", "::1:80", "a b:1"]) {
    expect(() => parseListen("--health", wrong), wrong).toThrow("--health");
  }
});

test("levels, yes and no, lists", () => {
  expect(parseLevel("node")).toBe("node");
  expect(() => parseLevel("hub")).toThrow("there are continuum (the hub), cluster (a member) and node (this machine)");
  expect(parseBoolean("--x", "false")).toBe(false);
  expect(() => parseBoolean("--x", "no")).toThrow("say true or false");
  expect(parseNames(" serving, fleet,")).toEqual(["serving", "fleet"]);
  expect(parseNames(undefined)).toBeUndefined();
});
