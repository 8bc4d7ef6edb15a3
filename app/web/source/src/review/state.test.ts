import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decide,
  empty,
  merge,
  nextFiles,
  nextToSend,
  redo,
  refusedOf,
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

const left = { unsaved: { a: { action: "drop" }, b: null }, version: 3, key: "key_ann" } as const;

test("verdicts that could not be saved are there again, and are sent", () => {
  const review = restored(empty, left, "key_ann", { other: { action: "keep" } });
  assert.equal(review.verdicts.get("a")?.action, "drop");
  assert.deepEqual(review.unsaved, left.unsaved);
  const open = restored(empty, { ...left, key: null }, null, {}); // a service without keys
  assert.deepEqual(open.unsaved, left.unsaved);
  const newer = restored(decide(empty, ["a"], { action: "keep" }), left, "key_ann", {});
  assert.equal(newer.verdicts.get("a")?.action, "keep");
  assert.deepEqual(newer.unsaved, { a: { action: "keep" }, b: null });
});

test("a verdict that was left behind does not replace a newer one of another person", () => {
  const review = restored(empty, left, "key_ann", { a: { action: "keep", by: "bob" } });
  assert.deepEqual(review.unsaved, { b: null });
  assert.equal(review.verdicts.has("a"), false);
  // The browser kept the view, so that it still has what it left behind.
  const shown = decide(decide(empty, ["a"], { action: "drop" }), ["c"], { action: "keep" });
  const again = restored(shown, left, "key_ann", { a: null });
  assert.deepEqual(again.unsaved, { b: null, c: { action: "keep" } });
  assert.equal(again.verdicts.has("a"), false);
  assert.deepEqual(again.past.length, 1);
});

test("verdicts that another person left behind are not sent", () => {
  for (const key of ["key_bob", null]) {
    assert.deepEqual(restored(empty, left, key, {}), empty);
  }
  assert.deepEqual(restored(empty, { ...left, key: undefined }, null, {}), empty);
});

const refusal = (...params: (string | null)[]): Parameters<typeof refusedOf>[2] => ({
  type: "/errors/invalid_corrections",
  title: "Unprocessable Entity",
  status: 422,
  detail: "",
  code: "invalid_class",
  errors: params.map((param) => ({ param, code: "invalid_class", message: "" })),
});
const asNew = (label: string): Verdict => ({ action: "relabel", label, new_class: true });

test("only what the service refuses is withdrawn, not what a proxy or a busy service answers", () => {
  const sent = { a: { action: "keep" } } as const;
  assert.deepEqual(refusedOf(sent, 404, refusal()), sent);
  assert.deepEqual(refusedOf(sent, 404, { ...refusal(), code: "offline" }), {});
  for (const status of [0, 401, 408, 412, 429, 500, 503]) {
    assert.deepEqual(refusedOf(sent, status, refusal("a")), {}, `status ${status}`);
  }
});

test("a verdict that is refused takes no other one along", () => {
  const sent: Record<string, Verdict> = {
    "caf\u00e9/0": { action: "keep" },
    "cat/1": asNew("cafe\u0301"),
    "cat/2": asNew("a\u200bb"),
    "cat/3": { action: "relabel", label: "caf\u00e9" },
    "cat/4": { action: "drop" },
  };
  const refused = (...params: (string | null)[]): string[] =>
    Object.keys(refusedOf(sent, 422, refusal(...params)));
  assert.deepEqual(refused("cat/4"), ["cat/4"]);
  assert.deepEqual(refused("cafe\u0301/0"), ["caf\u00e9/0"]);
  assert.deepEqual(refused("caf\u00e9"), ["cat/1"]);
  assert.deepEqual(refused("a\\u200bb"), ["cat/1", "cat/2"]); // it may be either of them
  assert.deepEqual(refused(null), ["cat/1", "cat/2"]);
  const plain = { "cat/4": { action: "drop" } } as const;
  assert.deepEqual(refusedOf(plain, 422, refusal("cat/5")), plain);
});

test("many verdicts are sent in parts, each once", () => {
  const many = Array.from({ length: 6000 }, (_, number) => `cat/${number}.jpg`);
  let review = decide(empty, many, { action: "keep" });
  const sent: string[] = [];
  while (Object.keys(review.unsaved).length > 0) {
    const part = nextToSend(review.unsaved);
    assert.ok(Object.keys(part).length <= 5000); // the service takes no more
    sent.push(...Object.keys(part));
    review = saved(review, part);
  }
  assert.deepEqual(sent, many);
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
