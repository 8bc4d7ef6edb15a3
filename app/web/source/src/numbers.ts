/** Numbers of photos by file, for lists that name files only. */
import { useEffect, useState } from "preact/hooks";
import { ApiError, get } from "./api";
import type { PhotoPage } from "./types";

const known = new Map<string, Promise<ReadonlyMap<string, number>>>();

async function load(dataset: string): Promise<ReadonlyMap<string, number>> {
  const numbers = new Map<string, number>();
  let next: number | null | undefined = -1;
  while (next !== null && next !== undefined) {
    const path: string = `/datasets/${dataset}/images?limit=1000&after=${next}`;
    const page: PhotoPage = await get<PhotoPage>(path);
    for (const photo of page.data) numbers.set(photo.file, photo.number);
    next = page.next;
  }
  return numbers;
}

/** Return the numbers of a data set, which never change; undefined while they load. */
export function useNumbers(dataset: string | null): ReadonlyMap<string, number> | undefined {
  const [numbers, setNumbers] = useState<ReadonlyMap<string, number>>();
  useEffect(() => {
    if (dataset === null) return;
    let left = false;
    const found = known.get(dataset) ?? load(dataset);
    known.set(dataset, found);
    found
      .then((value) => left || setNumbers(value))
      .catch((error: unknown) => {
        known.delete(dataset);
        if (!(error instanceof ApiError)) throw error; // without photos the names are shown
      });
    return () => {
      left = true;
    };
  }, [dataset]);
  return numbers;
}
