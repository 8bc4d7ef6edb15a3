/** The verdicts of a job: changed here at once, saved within a moment, and merged with those of others. */
import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { ApiError, address, get, patch } from "../api";
import type { ReviewView } from "../types";
import { decide, empty, merge, redo, saved, undo, type Review } from "./state";
import type { Verdict } from "./verdicts";

type Action =
  | { do: "decide"; files: string[]; verdict: Verdict | null }
  | { do: "undo" | "redo" }
  | { do: "merge"; found: Record<string, Verdict | null> }
  | { do: "saved"; sent: Record<string, Verdict | null>; found: Record<string, Verdict | null> };

function reduce(review: Review, action: Action): Review {
  switch (action.do) {
    case "decide":
      return decide(review, action.files, action.verdict);
    case "undo":
      return undo(review);
    case "redo":
      return redo(review);
    case "merge":
      return merge(review, action.found);
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
  decide(files: string[], verdict: Verdict | null): void;
  undo(): void;
  redo(): void;
}

/** What the service takes: `by` and the time are its own. */
function body(unsaved: Readonly<Record<string, Verdict | null>>): object {
  const plain = Object.entries(unsaved).map(([file, verdict]) => [
    file,
    verdict && { action: verdict.action, label: verdict.label, new_class: verdict.new_class },
  ]);
  return { verdicts: Object.fromEntries(plain) as object };
}

export function useReview(jobId: string): ReviewStore {
  const path = `/jobs/${jobId}/review`;
  const [review, act] = useReducer(reduce, empty);
  const [loaded, setLoaded] = useState(false);
  const [error, setError] = useState<ApiError>();
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
      setError(failed);
    } finally {
      busy.current = false;
    }
  };

  useEffect(() => {
    void exchange();
    const timer = setInterval(() => document.hidden || void exchange(), POLL);
    const leave = (): void => {
      const { unsaved } = latest.current;
      if (Object.keys(unsaved).length === 0) return;
      void fetch(address(path), {
        method: "PATCH",
        keepalive: true,
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body(unsaved)),
      });
    };
    addEventListener("pagehide", leave);
    return () => {
      clearInterval(timer);
      removeEventListener("pagehide", leave);
      leave();
    };
  }, [path]);

  const waiting = Object.keys(review.unsaved).length > 0;
  useEffect(() => {
    if (!waiting) return;
    const timer = setInterval(() => void exchange(), error ? RETRY : PAUSE);
    return () => clearInterval(timer);
  }, [waiting, error !== undefined, path]);

  return {
    review,
    loaded,
    error,
    decide: (files, verdict) => act({ do: "decide", files, verdict }),
    undo: () => act({ do: "undo" }),
    redo: () => act({ do: "redo" }),
  };
}
