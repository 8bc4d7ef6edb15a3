/** The verdicts of a job: changed here at once, saved within a moment, and merged with those of others. */
import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { ApiError, address, get, patch } from "../api";
import type { ReviewView } from "../types";
import { decide, merge, redo, restored, saved, undo, withdraw, type Review } from "./state";
import type { Verdict } from "./verdicts";

type Changes = Readonly<Record<string, Verdict | null>>;

type Action =
  | { do: "decide"; files: string[]; verdict: Verdict | null }
  | { do: "undo" | "redo" }
  | { do: "withdraw"; refused: Changes }
  | { do: "saved"; sent: Changes; found: Changes };

function reduce(review: Review, action: Action): Review {
  switch (action.do) {
    case "decide":
      return decide(review, action.files, action.verdict);
    case "undo":
      return undo(review);
    case "redo":
      return redo(review);
    case "withdraw":
      return withdraw(review, action.refused);
    case "saved":
      return merge(saved(review, action.sent), action.found);
  }
}

const PAUSE = 150;
/** Verdicts of others appear within two seconds. */
const POLL = 1000;
const RETRY = 3000;

export interface ReviewStore {
  review: Review;
  loaded: boolean;
  error?: ApiError;
  /** Why the service did not take a verdict, until the next one is given. */
  refused?: ApiError;
  decide(files: string[], verdict: Verdict | null): void;
  undo(): void;
  redo(): void;
}

/** Where verdicts wait that were not saved yet when the view was left, for its next time in this tab. */
const storage = (jobId: string): string => `dspt-review-${jobId}`;

function takeWaiting(jobId: string): Changes {
  const found = sessionStorage.getItem(storage(jobId)) ?? "{}";
  sessionStorage.removeItem(storage(jobId));
  return JSON.parse(found) as Changes;
}

/** Send them once more; they wait if there is no answer, as while the line is cut. */
function leaveBehind(jobId: string, unsaved: Changes): void {
  const waiting = JSON.stringify(unsaved);
  try {
    sessionStorage.setItem(storage(jobId), waiting);
  } catch {
    // No room for that many.
  }
  const sent = fetch(address(`/jobs/${jobId}/review`), {
    method: "PATCH",
    keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body(unsaved)),
  });
  sent.then(
    (answer) => {
      const same = sessionStorage.getItem(storage(jobId)) === waiting;
      if (answer.ok && same) sessionStorage.removeItem(storage(jobId));
    },
    () => undefined,
  );
}

/** Those that the service refuses for good, such as a new class that exists already. */
function refusedOf(sent: Changes, { status, problem }: ApiError): Changes {
  if (status < 400 || status >= 500 || [401, 408, 412, 429].includes(status)) return {};
  const names = new Set(problem.errors?.map(({ param }) => param));
  const named = Object.entries(sent).filter(
    ([file, verdict]) => names.has(file) || names.has(verdict?.label ?? file),
  );
  return named.length ? Object.fromEntries(named) : sent;
}

/** What the service takes: `by` and the time are its own. */
function body(unsaved: Changes): object {
  const plain = Object.entries(unsaved).map(([file, verdict]) => [
    file,
    verdict && { action: verdict.action, label: verdict.label, new_class: verdict.new_class },
  ]);
  return { verdicts: Object.fromEntries(plain) as object };
}

export function useReview(jobId: string): ReviewStore {
  const path = `/jobs/${jobId}/review`;
  const [review, act] = useReducer(reduce, jobId, (id) => restored(takeWaiting(id)));
  const [loaded, setLoaded] = useState(false);
  const [error, setError] = useState<ApiError>();
  const [refused, setRefused] = useState<ApiError>();
  const version = useRef(0);
  const busy = useRef(false);
  const latest = useRef(review);
  latest.current = review;

  const exchange = async (): Promise<void> => {
    if (busy.current) return;
    busy.current = true;
    const sent = latest.current.unsaved;
    const since = `${path}?since=${version.current}`;
    try {
      const found = Object.keys(sent).length
        ? await patch<ReviewView>(since, body(sent))
        : await get<ReviewView>(since);
      version.current = found.version;
      act({ do: "saved", sent, found: found.verdicts });
      setError(undefined);
      setLoaded(true);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      const found = refusedOf(sent, failed);
      if (Object.keys(found).length === 0) setError(failed);
      else {
        version.current = 0; // all verdicts again, with those before the refused ones
        act({ do: "withdraw", refused: found });
        setRefused(failed);
      }
    } finally {
      busy.current = false;
    }
  };

  useEffect(() => {
    void exchange();
    const timer = setInterval(() => document.hidden || void exchange(), POLL);
    const leave = (): void => {
      const { unsaved } = latest.current;
      if (Object.keys(unsaved).length > 0) leaveBehind(jobId, unsaved);
    };
    addEventListener("pagehide", leave);
    return () => {
      clearInterval(timer);
      removeEventListener("pagehide", leave);
      leave();
    };
  }, [path]);

  const waiting = Object.keys(review.unsaved).length > 0;
  const stuck = waiting && error !== undefined;
  useEffect(() => {
    if (!stuck) return;
    const ask = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener("beforeunload", ask);
    return () => removeEventListener("beforeunload", ask);
  }, [stuck]);
  useEffect(() => {
    if (!waiting) return;
    const timer = setInterval(() => void exchange(), error ? RETRY : PAUSE);
    return () => clearInterval(timer);
  }, [waiting, error !== undefined, path]);

  return {
    review,
    loaded,
    error,
    refused,
    decide: (files, verdict) => {
      setRefused(undefined);
      act({ do: "decide", files, verdict });
    },
    undo: () => act({ do: "undo" }),
    redo: () => act({ do: "redo" }),
  };
}
