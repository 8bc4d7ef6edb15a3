/** Calls of the service. Addresses are relative to the page, so that a proxy may add a prefix. */
import type { Problem } from "./types";

const base = new URL("../", new URL(".", location.href));

export function address(path: string): string {
  return new URL(path.replace(/^\//, ""), base).href;
}

/** An answer that is no success, or no answer at all (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.detail);
  }
}

const offline: Problem = {
  type: "",
  title: "No answer",
  status: 0,
  detail: "The service does not answer. Check that it runs, and try again.",
  code: "offline",
  errors: [],
};

let onSignedOut: () => void = () => undefined;
export function whenSignedOut(call: () => void): void {
  onSignedOut = call;
}

export function problemOf(status: number, text: string): ApiError {
  try {
    const found: unknown = JSON.parse(text);
    if (found !== null && typeof found === "object" && "detail" in found && "code" in found) {
      return new ApiError(status, found as Problem);
    }
  } catch {
    // A proxy answers in its own words.
  }
  return new ApiError(status, { ...offline, status, detail: `The service answered ${status}.` });
}

async function send<T>(method: string, path: string, body?: BodyInit, json = false): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (json) headers["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(address(path), { method, headers, body });
  } catch {
    throw new ApiError(0, offline);
  }
  const text = await response.text();
  if (!response.ok) {
    if (response.status === 401 && !path.startsWith("/session")) onSignedOut();
    throw problemOf(response.status, text);
  }
  return (text ? JSON.parse(text) : undefined) as T;
}

export const get = <T>(path: string): Promise<T> => send<T>("GET", path);
export const del = (path: string): Promise<void> => send<void>("DELETE", path);
export const post = <T>(path: string, body?: object): Promise<T> =>
  body === undefined ? send<T>("POST", path) : send<T>("POST", path, JSON.stringify(body), true);
export const put = <T>(path: string, body: object): Promise<T> =>
  send<T>("PUT", path, JSON.stringify(body), true);
export const patch = <T>(path: string, body: object): Promise<T> =>
  send<T>("PATCH", path, JSON.stringify(body), true);
export const postForm = <T>(path: string, form: FormData): Promise<T> =>
  send<T>("POST", path, form);

export interface Sending<T> {
  done: Promise<T>;
  /** `keep`: what has arrived stays there, to go on from later. */
  cancel(keep: boolean): void;
}

/** Send a body and report the bytes sent; fetch cannot do that. */
export function transfer<T>(
  method: string,
  path: string,
  body: FormData | Blob,
  headers: Record<string, string>,
  onProgress: (sent: number, total: number) => void,
): Sending<T> {
  const request = new XMLHttpRequest();
  const done = new Promise<T>((resolve, reject) => {
    request.open(method, address(path));
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    request.onload = () => {
      const text = request.responseText;
      if (request.status < 300) resolve((text ? JSON.parse(text) : undefined) as T);
      else reject(problemOf(request.status, text));
    };
    request.onerror = () =>
      reject(
        new ApiError(0, {
          ...offline,
          detail: "The upload was cut off. Send it again: no second job is created.",
        }),
      );
    request.onabort = () => reject(new ApiError(0, { ...offline, detail: "Upload cancelled." }));
    request.send(body);
  });
  return { done, cancel: () => request.abort() };
}
