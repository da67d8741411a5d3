import { expect, test } from "vitest";
import { onAbort } from "./index.js";

test("everybody who still waits is called once, in order", () => {
  const controller = new AbortController();
  const called: string[] = [];
  const same = (): void => void called.push("same");
  onAbort(controller.signal, () => called.push("first"));
  const forget = onAbort(controller.signal, () => called.push("forgotten"));
  onAbort(controller.signal, same);
  onAbort(controller.signal, same)();
  forget();
  controller.abort();
  controller.abort();

  expect(called).toEqual(["first", "same"]);
});
