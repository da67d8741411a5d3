import type { Random } from "../../kernel/clock/index.js";

const FIRST =
  "amber brave calm clever crisp eager fair gentle golden happy honest jolly keen kind lively lucky mellow merry nimble noble patient polite proud quick quiet rapid rosy sharp silent smooth snowy sunny swift tidy tranquil upbeat vivid warm wise witty".split(
    " ",
  );
const SECOND =
  "ant badger bear bee bird boar cat cod colt crab crane crow deer dog dove duck eagle eel elk falcon finch fish fox frog gnat goat goose hare hawk hen heron horse ibis jay koala lark lion lynx mole moose moth mouse newt otter owl panda perch pike puma quail ram rat raven robin seal shark sheep shrew snail stork swan tern toad trout vole wasp whale wolf wren yak zebra".split(
    " ",
  );

/** A name for what got none: two words and a number. */
export function randomName(random: Random): string {
  const first = FIRST[random.int(FIRST.length)] ?? "plain";
  const second = SECOND[random.int(SECOND.length)] ?? "run";
  return `${first}-${second}-${random.int(1000)}`;
}
