import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decide,
  empty,
  merge,
  nextFiles,
  redo,
  restored,
  same,
  saved,
  undo,
  withdraw,
  type Review,
} from "./state.js";
import { Verdicts, type Verdict } from "./verdicts.js";

/** A small generator with a seed, so that a failure can be repeated. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const files = Array.from({ length: 12 }, (_, number) => `train/cat/${number}.jpg`);
const choices: (Verdict | null)[] = [
  null,
  { action: "keep" },
  { action: "drop" },
  { action: "relabel", label: "dog" },
  { action: "relabel", label: "polar bear", new_class: true },
];

function anything(review: Review, pick: (below: number) => number): Review {
  const what = pick(10);
  if (what === 0) return undo(review);
  if (what === 1) return redo(review);
  const some = files.filter(() => pick(6) === 0);
  return decide(review, some, choices[pick(choices.length)] ?? null);
}

test("undo to the beginning and redo to the end give the same verdicts, in 1,000 random runs", () => {
  for (let seed = 0; seed < 1000; seed++) {
    const pick = random(seed);
    const initial = merge(empty, { [files[0] ?? ""]: { action: "keep" } });
    let review = initial;
    for (let step = pick(40); step > 0; step--) review = anything(review, pick);
    while (review.future.length > 0) review = redo(review);
    const end = review.verdicts;
    const steps = review.past.length;
    while (review.past.length > 0) review = undo(review);
    assert.deepEqual(review.verdicts, initial.verdicts, `seed ${seed}`);
    assert.equal(review.future.length, steps);
    while (review.future.length > 0) review = redo(review);
    assert.deepEqual(review.verdicts, end, `seed ${seed}`);
  }
});

test("what is unsaved is the difference to what the service has, in 1,000 random runs", () => {
  for (let seed = 0; seed < 1000; seed++) {
    const pick = random(seed);
    const service: Record<string, Verdict | null> = {};
    let review = empty;
    for (let step = pick(40); step > 0; step--) {
      review = anything(review, pick);
      if (pick(4) === 0) {
        const sent = review.unsaved;
        Object.assign(service, sent);
        if (pick(2) === 0) review = anything(review, pick); // decided while the request runs
        review = saved(review, sent);
      }
    }
    Object.assign(service, review.unsaved);
    for (const file of files) {
      assert.ok(same(service[file], review.verdicts.get(file)), `seed ${seed}, ${file}`);
    }
  }
});

test("the newer verdict of another person counts, and undo leaves it alone", () => {
  let review = decide(empty, ["a", "b"], { action: "drop" });
  review = saved(review, review.unsaved);
  review = merge(review, { a: { action: "keep", by: "ann" } });
  assert.equal(review.verdicts.get("a")?.action, "keep");
  review = undo(review);
  assert.deepEqual([...review.verdicts].map(([file]) => file), ["a"]);
  assert.deepEqual(review.unsaved, { b: null });
});

test("a verdict that is not saved yet is not overwritten by an older answer", () => {
  const review = merge(decide(empty, ["a"], { action: "drop" }), { a: { action: "keep" } });
  assert.equal(review.verdicts.get("a")?.action, "drop");
});

test("verdicts that could not be saved are there again, and are sent", () => {
  const review = restored({ a: { action: "drop" }, b: null });
  assert.equal(review.verdicts.get("a")?.action, "drop");
  assert.deepEqual(Object.keys(review.unsaved), ["a", "b"]);
});

test("a verdict that the service refuses is forgotten, but not a newer one", () => {
  const bad: Verdict = { action: "relabel", label: "t shirt", new_class: true };
  const old = merge(empty, { a: { action: "keep" } });
  const given = decide(decide(decide(old, ["a", "b"], bad), ["c"], { action: "drop" }), ["b"], null);
  const left = withdraw(given, { a: bad, b: bad });
  assert.equal(left.verdicts.get("a"), undefined);
  assert.deepEqual(left.unsaved, { b: null, c: { action: "drop" } });
  assert.deepEqual(nextFiles(left.past), ["b"]);
  assert.deepEqual(nextFiles(undo(undo(left)).past), ["b"]);
  assert.equal(merge(left, { a: { action: "keep" } }).verdicts.get("a")?.action, "keep");
});

test("verdicts of thousands of files are those that were written last, and older ones stay", () => {
  const keep: Verdict = { action: "keep" };
  const many = Array.from({ length: 5000 }, (_, number) => `${number % 7}/${number}.jpg`);
  const all = Verdicts.none.with(many.map((file) => [file, keep]));
  const rest = all.with(many.filter((_, number) => number % 2).map((file) => [file, null]));
  assert.deepEqual(new Set([...all].map(([file]) => file)), new Set(many));
  assert.deepEqual(
    many.map((file) => rest.has(file)),
    many.map((_, number) => number % 2 === 0),
  );
  assert.equal(rest.among(new Set(many.slice(0, 101))), 51);
  assert.deepEqual([...Verdicts.none], []);
});
