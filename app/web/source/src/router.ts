/** Routes in the fragment: every view has an address, and the server needs to know none of them. */
import { useEffect, useState } from "preact/hooks";

export interface Route {
  path: string[];
  query: URLSearchParams;
}

function current(): Route {
  const [path = "", query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return {
    path: path.split("/").filter(Boolean).map(decodeURIComponent),
    query: new URLSearchParams(query),
  };
}

function addressOf({ path, query }: Route): string {
  const text = query.toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text && `?${text}`}`;
}

/** Browsers refuse more than a few changes of the address a second, so it follows the view. */
const DELAY = 200;
let shown = current();
let pending: ReturnType<typeof setTimeout> | undefined;
const views = new Set<(route: Route) => void>();

function show(route: Route): void {
  clearTimeout(pending);
  shown = route;
  for (const view of views) view(route);
}

addEventListener("hashchange", () => show(current()));

export function useRoute(): Route {
  const [route, setRoute] = useState(shown);
  useEffect(() => {
    views.add(setRoute);
    return () => void views.delete(setRoute);
  }, []);
  return route;
}

export function go(path: string): void {
  clearTimeout(pending);
  location.hash = path;
}

/** Change the query of the current view without an entry in the history. */
export function replaceQuery(values: Record<string, string>): void {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""));
  const route = { path: shown.path, query };
  show(route);
  pending = setTimeout(() => {
    const same = addressOf({ ...current(), query }) === addressOf(route);
    if (same) history.replaceState(null, "", addressOf(route));
  }, DELAY);
}
