/** Verdicts by file. They never change: what is written shares all but the changed parts with the old ones. */

export interface Verdict {
  action: "relabel" | "keep" | "drop";
  label?: string | null;
  new_class?: boolean;
  by?: string | null;
}

type Part = ReadonlyMap<string, Verdict>;

/** A key copies one of them: about 80 of 10,000 verdicts. A prime, so that similar names are spread. */
const PARTS = 127;

function partOf(file: string): number {
  let hash = 0;
  for (let at = 0; at < file.length; at++) hash = (Math.imul(31, hash) + file.charCodeAt(at)) | 0;
  return (hash >>> 0) % PARTS;
}

export class Verdicts implements Iterable<[string, Verdict]> {
  static readonly none = new Verdicts(Array.from({ length: PARTS }, () => new Map()));

  private constructor(private readonly parts: readonly Part[]) {}

  get(file: string): Verdict | undefined {
    return this.parts[partOf(file)]?.get(file);
  }

  has(file: string): boolean {
    return this.get(file) !== undefined;
  }

  /** The same with other verdicts for some files, or with null without theirs. */
  with(changes: Iterable<readonly [string, Verdict | null]>): Verdicts {
    const copies = new Map<number, Map<string, Verdict>>();
    for (const [file, verdict] of changes) {
      const at = partOf(file);
      const copy = copies.get(at) ?? new Map(this.parts[at]);
      copies.set(at, copy);
      if (verdict) copy.set(file, verdict);
      else copy.delete(file);
    }
    return new Verdicts(this.parts.map((part, at) => copies.get(at) ?? part));
  }

  /** How many of these files have one. */
  among(files: ReadonlySet<string>): number {
    let found = 0;
    for (const part of this.parts) for (const file of part.keys()) if (files.has(file)) found++;
    return found;
  }

  *[Symbol.iterator](): Iterator<[string, Verdict]> {
    for (const part of this.parts) yield* part;
  }
}
