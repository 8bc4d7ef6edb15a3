/** Lists that the service returns page by page, newest first. */
import { useState } from "preact/hooks";
import { ApiError, get } from "./api";
import { useLoaded } from "./load";
import type { Page } from "./types";

export interface Pages<T> {
  /** Undefined while the first page loads. */
  items?: T[];
  error?: ApiError;
  more: boolean;
  loadMore(): Promise<void>;
  reload(): Promise<void>;
}

/** The first page is loaded again every `pollSeconds`; older ones when asked for. */
export function usePages<T extends { id: string }>(path: string, pollSeconds: number): Pages<T> {
  const first = useLoaded<Page<T>>(`${path}?limit=100`, pollSeconds);
  const [older, setOlder] = useState<Page<T>>();
  const [failed, setFailed] = useState<ApiError>();
  const newest = first.value?.data;
  const shown = new Set(newest?.map((one) => one.id));
  const last = older ?? first.value;
  const loadMore = async (): Promise<void> => {
    try {
      const page = await get<Page<T>>(`${path}?limit=100&after=${last?.next ?? ""}`);
      setOlder({ ...page, data: [...(older?.data ?? []), ...page.data] });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      setFailed(error);
    }
  };
  return {
    items: newest && [...newest, ...(older?.data.filter((one) => !shown.has(one.id)) ?? [])],
    error: first.error ?? failed,
    more: last?.has_more ?? false,
    loadMore,
    reload: first.reload,
  };
}
