/** The verdicts of a job: changed here at once, saved within a moment, and merged with those of others. */
import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { ApiError, address, get, patch } from "../api";
import type { ReviewView, Session } from "../types";
import {
  decide,
  empty,
  merge,
  nextToSend,
  redo,
  refusedOf,
  restored,
  saved,
  undo,
  withdraw,
  type Changes,
  type Left,
  type Review,
} from "./state";
import type { Verdict } from "./verdicts";

type Action =
  | { do: "decide"; files: string[]; verdict: Verdict | null }
  | { do: "undo" | "redo" }
  | { do: "restore"; left: Left; key: string | null; changed: Changes }
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
    case "restore":
      return restored(review, action.left, action.key, action.changed);
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

/** Where a view leaves what it has not saved, for its next time in this tab. */
const storage = (jobId: string): string => `dspt-review-${jobId}`;

function leftBehind(jobId: string): Left | undefined {
  const found = sessionStorage.getItem(storage(jobId));
  return found === null ? undefined : (JSON.parse(found) as Left);
}

/** Send them once more. The next view learns what has arrived: this page may be gone by then. */
function leaveBehind(jobId: string, left: Left): void {
  const earlier = leftBehind(jobId); // if this view did not reach the service
  const both =
    earlier && earlier.key === left.key
      ? { ...earlier, unsaved: { ...earlier.unsaved, ...left.unsaved } }
      : left;
  try {
    sessionStorage.setItem(storage(jobId), JSON.stringify(both));
  } catch {
    // No room for that many.
  }
  fetch(address(`/jobs/${jobId}/review`), {
    method: "PATCH",
    keepalive: true,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body(nextToSend(left.unsaved))),
  }).catch(() => undefined);
}

/** What the service takes: `by` and the time are its own. */
function body(unsaved: Changes): object {
  const plain = Object.entries(unsaved).map(([file, verdict]) => [
    file,
    verdict && { action: verdict.action, label: verdict.label, new_class: verdict.new_class },
  ]);
  return { verdicts: Object.fromEntries(plain) as object };
}

/** `key`: the API key of who is signed in, as in the session; undefined while that is not known. */
export function useReview(jobId: string, key?: string | null): ReviewStore {
  const path = `/jobs/${jobId}/review`;
  const [review, act] = useReducer(reduce, empty);
  const [loaded, setLoaded] = useState(false);
  const [error, setError] = useState<ApiError>();
  const [refused, setRefused] = useState<ApiError>();
  const version = useRef(0);
  const busy = useRef(false);
  const over = useRef(false);
  const latest = useRef({ review, key });
  latest.current = { review, key };

  /** Take up what was left behind; return whether there was something. */
  const takeUp = async (): Promise<boolean> => {
    const left = leftBehind(jobId);
    if (!left) return false;
    const [session, changed] = await Promise.all([
      get<Session>("/session"),
      get<ReviewView>(`${path}?since=${left.version}`),
    ]);
    if (over.current) return true; // it waits for the next view
    sessionStorage.removeItem(storage(jobId));
    version.current = 0; // all verdicts again, with those that replaced what was left
    act({ do: "restore", left, key: session.key_id, changed: changed.verdicts });
    return true;
  };

  const exchange = async (): Promise<void> => {
    if (busy.current) return;
    busy.current = true;
    let sent: Changes = {};
    try {
      // What was taken up is sent the next time: `latest` does not have it yet.
      if (!(await takeUp())) sent = nextToSend(latest.current.review.unsaved);
      const since = `${path}?since=${version.current}`;
      const found = Object.keys(sent).length
        ? await patch<ReviewView>(since, body(sent))
        : await get<ReviewView>(since);
      version.current = found.version;
      act({ do: "saved", sent, found: found.verdicts });
      setError(undefined);
      setLoaded(true);
    } catch (failed) {
      if (!(failed instanceof ApiError)) throw failed;
      const found = refusedOf(sent, failed.status, failed.problem);
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
      const { review, key } = latest.current;
      const left = { unsaved: review.unsaved, version: version.current, key };
      if (Object.keys(left.unsaved).length > 0) leaveBehind(jobId, left);
    };
    addEventListener("pagehide", leave);
    return () => {
      clearInterval(timer);
      removeEventListener("pagehide", leave);
      over.current = true;
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
