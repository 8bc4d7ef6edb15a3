/** The suspects of a job, or all its training photos; most suspicious first, page by page. */
import { useEffect, useState } from "preact/hooks";
import { ApiError, get } from "../api";
import type { Audit, AuditEntry } from "../types";

export interface Suspects {
  audit?: Audit;
  entries: AuditEntry[];
  complete: boolean;
  error?: ApiError;
}

const REST = 150;

/** The first page is small, so that the first photos appear at once. */
export function useSuspects(jobId: string, all: boolean): Suspects {
  const [state, setState] = useState<Suspects>({ entries: [], complete: false });
  useEffect(() => {
    let left = false;
    setState({ entries: [], complete: false });
    const load = async (): Promise<void> => {
      const entries: AuditEntry[] = [];
      let next = "";
      do {
        const limit = next ? 5000 : 100;
        const some = all ? "" : "suspect=true&";
        const path = `/jobs/${jobId}/audit?${some}limit=${limit}&after=${next}`;
        const audit: Audit = await get<Audit>(path);
        if (left) return;
        entries.push(...audit.entries);
        next = audit.next ?? "";
        setState({ audit, entries: [...entries], complete: !next });
        // The thumbnails of the first page come first: a large page keeps the service busy.
        if (next) await new Promise((resolve) => setTimeout(resolve, REST));
      } while (next);
    };
    load().catch((error: unknown) => {
      if (!(error instanceof ApiError)) throw error;
      setState((old) => ({ ...old, error }));
    });
    return () => {
      left = true;
    };
  }, [jobId, all]);
  return state;
}

/** Classes in the order of the keys 1 to 9: the suggestion, then what is suggested most often. */
export function classesFor(
  entry: AuditEntry | undefined,
  frequent: readonly string[],
): readonly string[] {
  if (!entry) return frequent;
  return [entry.suggested, ...frequent.filter((name) => name !== entry.suggested)];
}

export function byFrequency(classes: readonly string[], entries: readonly AuditEntry[]): string[] {
  const counts = new Map(classes.map((name) => [name, 0]));
  for (const { suggested } of entries) counts.set(suggested, (counts.get(suggested) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([name]) => name);
}
