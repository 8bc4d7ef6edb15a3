/** Large zips are sent in parts, so that a cut or a reload costs one part at most. */
import { ApiError, del, get, post, postForm, transfer, type Sending } from "./api";
import type { Dataset, Upload } from "./types";

/** Files up to this size are sent in one request. */
const LARGE = 32 * 1024 ** 2;
/** Seconds to wait before each further try. */
const PAUSES = [1, 2, 4, 8, 16, 30];
const PASSING = [0, 429, 502, 503, 504];

/** Checksums need https or this machine; elsewhere the file is sent whole. */
export const goesInParts = (file: File): boolean => file.size > LARGE && "subtle" in crypto;

export interface Sent {
  bytes: number;
  total: number;
  /** Bytes that had arrived before. */
  before: number;
  /** The connection is lost, and the next try follows. */
  waits: boolean;
}

/**
 * Send a file and return the id of its data set. `mark` tells the file from others: with the same
 * mark an upload that was cut off goes on, also after a reload.
 */
export function sendInParts(
  file: File,
  mark: string,
  onProgress: (sent: Sent) => void,
): Sending<string> {
  const place = `dspt-upload:${mark}`;
  let request: Sending<void> | undefined;
  let wake: (() => void) | undefined;
  let id = "";
  let cancelled = false;

  const put = async (upload: Upload, number: number, before: number, at: number): Promise<void> => {
    const start = (number - 1) * upload.part_bytes;
    const part = file.slice(start, start + upload.part_bytes);
    const digest = base64(await crypto.subtle.digest("SHA-256", await part.arrayBuffer()));
    for (let attempt = 0; ; attempt++) {
      request = transfer<void>(
        "PUT",
        `/uploads/${id}/parts/${number}`,
        part,
        { "Content-Digest": `sha-256=:${digest}:`, "Content-Type": "application/octet-stream" },
        (bytes) => onProgress({ bytes: at + bytes, total: file.size, before, waits: false }),
      );
      if (cancelled) request.cancel(true);
      try {
        return await request.done;
      } catch (error) {
        const pause = PAUSES[attempt];
        const passing = error instanceof ApiError && PASSING.includes(error.status);
        if (cancelled || !passing || pause === undefined) throw error;
        onProgress({ bytes: at, total: file.size, before, waits: true });
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, pause * 1000);
          addEventListener("online", () => resolve(), { once: true });
        });
      }
    }
  };
  const run = async (): Promise<string> => {
    const wanted = { filename: file.name, size_bytes: file.size };
    const upload = (await open(place, file.size)) ?? (await post<Upload>("/uploads", wanted));
    id = upload.id ?? "";
    localStorage.setItem(place, id);
    const sizeOf = (number: number): number =>
      Math.min(upload.part_bytes, file.size - (number - 1) * upload.part_bytes);
    const before = upload.missing.reduce((left, number) => left - sizeOf(number), file.size);
    let at = before;
    for (const number of upload.missing) {
      await put(upload, number, before, at);
      at += sizeOf(number);
      onProgress({ bytes: at, total: file.size, before, waits: false });
    }
    const form = new FormData();
    form.set("upload_id", id);
    const dataset = await postForm<Dataset>("/datasets", form);
    localStorage.removeItem(place);
    return dataset.id;
  };
  const cancel = (keep: boolean): void => {
    cancelled = true;
    request?.cancel(keep);
    wake?.();
    if (keep || !id) return;
    localStorage.removeItem(place);
    del(`/uploads/${id}`).catch(() => undefined); // the service deletes it after a day
  };
  return { done: run(), cancel };
}

/** Return the upload that was cut off, if the service still has it. */
async function open(place: string, size: number): Promise<Upload | undefined> {
  const id = localStorage.getItem(place);
  if (!id) return undefined;
  try {
    const found = await get<Upload>(`/uploads/${id}`);
    return found.size_bytes === size ? found : undefined;
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    localStorage.removeItem(place);
    return undefined;
  }
}

const base64 = (digest: ArrayBuffer): string =>
  btoa(String.fromCharCode(...new Uint8Array(digest)));
