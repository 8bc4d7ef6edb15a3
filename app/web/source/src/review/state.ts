/** Verdicts of a review with undo and redo without limit. Pure: every call returns a new state. */

import type { Problem } from "../types.js";
import { Verdicts, type Verdict } from "./verdicts.js";

export type Changes = Readonly<Record<string, Verdict | null>>;

interface Change {
  file: string;
  before: Verdict | null;
  after: Verdict | null;
}

export interface Review {
  verdicts: Verdicts;
  /** Steps that can be undone, the newest last; a step may concern many files. */
  past: readonly (readonly Change[])[];
  /** Steps that can be redone, the next last. */
  future: readonly (readonly Change[])[];
  /** What the service does not have yet. */
  unsaved: Changes;
}

/** What a view had not saved when it was left. */
export interface Left {
  unsaved: Changes;
  /** Of the review, when the view last read it. */
  version: number;
  /** The API key of the person; null: the service has none; undefined: not known. */
  key?: string | null;
}

export const empty: Review = { verdicts: Verdicts.none, past: [], future: [], unsaved: {} };

export function same(a: Verdict | null | undefined, b: Verdict | null | undefined): boolean {
  return a?.action === b?.action && (a?.label ?? null) === (b?.label ?? null);
}

function write(review: Review, changes: readonly Change[], side: "before" | "after"): Review {
  const written = changes.map((change) => [change.file, change[side]] as const);
  const unsaved = { ...review.unsaved, ...Object.fromEntries(written) };
  return { ...review, verdicts: review.verdicts.with(written), unsaved };
}

/** Give one verdict to some files, or with null take theirs back. */
export function decide(review: Review, files: readonly string[], after: Verdict | null): Review {
  const changes = files
    .map((file) => ({ file, before: review.verdicts.get(file) ?? null, after }))
    .filter((change) => !same(change.before, after));
  if (changes.length === 0) return review;
  return {
    ...write(review, changes, "after"),
    past: [...review.past, changes],
    future: [],
  };
}

/** A file that another person has decided in the meantime stays as it is. */
export function undo(review: Review): Review {
  const step = review.past.at(-1);
  if (!step) return review;
  const mine = step.filter(({ file, after }) => same(review.verdicts.get(file) ?? null, after));
  return {
    ...write(review, mine, "before"),
    past: review.past.slice(0, -1),
    future: [...review.future, step],
  };
}

export function redo(review: Review): Review {
  const step = review.future.at(-1);
  if (!step) return review;
  const mine = step.filter(({ file, before }) => same(review.verdicts.get(file) ?? null, before));
  return {
    ...write(review, mine, "after"),
    past: [...review.past, step],
    future: review.future.slice(0, -1),
  };
}

/** Take what the service has; what was decided here since the request counts more. */
export function merge(review: Review, found: Changes): Review {
  const newer = Object.entries(found).filter(
    ([file, verdict]) => !(file in review.unsaved) && !same(review.verdicts.get(file), verdict),
  );
  return newer.length ? { ...review, verdicts: review.verdicts.with(newer) } : review;
}

/**
 * Take up what a view left unsaved, except verdicts of another person and files that have changed
 * since. A view that the browser kept, and shows again, still has them all.
 */
export function restored(
  review: Review,
  left: Left,
  key: string | null,
  changed: Changes,
): Review {
  const outdated = (file: string): boolean => left.key !== key || file in changed;
  const all = Object.entries(left.unsaved);
  const kept = withdraw(review, Object.fromEntries(all.filter(([file]) => outdated(file))));
  const rest = all.filter(([file]) => !outdated(file) && !(file in kept.unsaved));
  return {
    ...kept,
    verdicts: kept.verdicts.with(rest),
    unsaved: { ...Object.fromEntries(rest), ...kept.unsaved },
  };
}

/** The service takes 5,000 verdicts at once; a proxy in front of it often no more than 1 MB. */
const MOST = 1000;

export function nextToSend(unsaved: Changes): Changes {
  return Object.fromEntries(Object.entries(unsaved).slice(0, MOST));
}

/** Those that the service refuses for good, such as a new class that exists already. */
export function refusedOf(sent: Changes, status: number, problem: Problem): Changes {
  // A proxy that does not reach the service answers too, in its own words.
  const passing = problem.code === "offline" || [401, 408, 412, 429].includes(status);
  if (passing || status < 400 || status >= 500) return {};
  const names = new Set(problem.errors?.map(({ param }) => param?.normalize()));
  const all = Object.entries(sent);
  const ofNewClasses = all.filter(([, verdict]) => verdict?.new_class);
  const named = [
    ...all.filter(([file]) => names.has(file.normalize())),
    ...ofNewClasses.filter(([file, verdict]) => names.has((verdict?.label ?? file).normalize())),
  ];
  // A name that cannot be shown as it is comes back in another form.
  const found = [named, ofNewClasses].find((some) => some.length > 0);
  return found ? Object.fromEntries(found) : sent;
}

/** Forget verdicts that the service refuses, unless there are newer ones; it has those before. */
export function withdraw(review: Review, refused: Changes): Review {
  const files = new Set(
    Object.keys(refused).filter(
      (file) => file in review.unsaved && same(review.unsaved[file], refused[file]),
    ),
  );
  const without = (steps: Review["past"]): Review["past"] =>
    steps
      .map((step) => step.filter(({ file }) => !files.has(file)))
      .filter((step) => step.length > 0);
  return {
    verdicts: review.verdicts.with([...files].map((file) => [file, null])),
    past: without(review.past),
    future: without(review.future),
    unsaved: Object.fromEntries(Object.entries(review.unsaved).filter(([file]) => !files.has(file))),
  };
}

/** Files of the step that `undo` takes back next, or that `redo` repeats next. */
export const nextFiles = (steps: Review["past"]): string[] =>
  steps.at(-1)?.map(({ file }) => file) ?? [];

/** The service has these verdicts now. */
export function saved(review: Review, sent: Changes): Review {
  const unsaved = { ...review.unsaved };
  for (const [file, verdict] of Object.entries(sent)) {
    if (file in unsaved && same(unsaved[file], verdict)) delete unsaved[file];
  }
  return { ...review, unsaved };
}
