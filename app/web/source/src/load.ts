/** Load something when its address changes, and again when asked to. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { ApiError, get } from "./api";

export interface Loaded<T> {
  value?: T;
  error?: ApiError;
  reload(): Promise<void>;
  set(value: T): void;
}

/** `path`: null loads nothing. `pollSeconds`: load again after this time while the page is seen. */
export function useLoaded<T>(path: string | null, pollSeconds = 0): Loaded<T> {
  const [state, setState] = useState<{ path: string | null; value?: T; error?: ApiError }>({ path });
  const wanted = useRef(path);
  wanted.current = path;
  const reload = useCallback(async () => {
    if (path === null) return;
    try {
      const value = await get<T>(path);
      if (wanted.current === path) setState({ path, value });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (wanted.current === path) setState((old) => ({ path, value: old.value, error }));
    }
  }, [path]);
  useEffect(() => {
    void reload();
    if (!pollSeconds) return;
    const timer = setInterval(() => document.hidden || void reload(), pollSeconds * 1000);
    return () => clearInterval(timer);
  }, [reload, pollSeconds]);
  const fresh = state.path === path;
  return {
    value: fresh ? state.value : undefined,
    error: fresh ? state.error : undefined,
    reload,
    set: (value) => setState({ path, value }),
  };
}
