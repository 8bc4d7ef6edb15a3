/** Photos that a person has dropped or chosen: what they are before they are sent. */
import { makeZip } from "client-zip";

export interface Item {
  path: string;
  file: File;
}

export interface Chosen {
  name: string;
  items: Item[];
  /** A zip is sent as it is; the service reads it. */
  zip?: File;
}

export interface Summary {
  classes: { name: string; files: number; sample: File }[];
  /** Files that are no photos by their name. */
  others: string[];
  bytes: number;
  parts: string[];
}

const photo = /\.(jpe?g|png|webp|gif|bmp|tiff?|heic|heif|avif)$/i;
const table = /\.(csv|tsv|txt|json)$/i;
const hidden = /(^|\/)(\.|__MACOSX)/;
const splits = ["train", "val", "test"];

const isZip = (file: File): boolean => /\.zip$/i.test(file.name);

/** Folders of a drop have to be taken while the event runs; reading them takes longer. */
export async function fromDrop(data: DataTransfer): Promise<Chosen> {
  const entries = [...data.items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  const files = [...data.files];
  if (entries.every((entry) => entry.isFile)) return fromFiles(files);
  const items: Item[] = [];
  for (const entry of entries) await walk(entry, items);
  return chosen(items);
}

export function fromFiles(files: File[]): Chosen {
  const [only] = files;
  if (files.length === 1 && only && isZip(only)) {
    return { name: only.name.replace(/\.zip$/i, ""), items: [], zip: only };
  }
  return chosen(files.map((file) => ({ path: file.webkitRelativePath || file.name, file })));
}

async function walk(entry: FileSystemEntry, items: Item[]): Promise<void> {
  const path = entry.fullPath.replace(/^\//, "");
  if (hidden.test(path)) return;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    items.push({ path, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // Each call returns at most 100 entries.
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (some.length === 0) return;
    for (const each of some) await walk(each, items);
  }
}

/** One folder around everything is left out, as the service would do. */
function chosen(all: Item[]): Chosen {
  let items = all.filter((item) => !hidden.test(item.path));
  let name = "photos";
  const tops = new Set(items.map((item) => item.path.split("/")[0] ?? ""));
  const [top] = tops;
  if (tops.size === 1 && top !== undefined && items.some((i) => i.path.split("/").length > 2)) {
    name = top;
    items = items.map((item) => ({ ...item, path: item.path.slice(top.length + 1) }));
  }
  return { name, items };
}

export function summarise(items: Item[]): Summary {
  const classes = new Map<string, { name: string; files: number; sample: File }>();
  const others: string[] = [];
  const parts = new Set<string>();
  let bytes = 0;
  for (const { path, file } of items) {
    bytes += file.size;
    const folders = path.split("/").slice(0, -1);
    const [part] = folders;
    if (part !== undefined && splits.includes(part.toLowerCase())) {
      parts.add(part);
      folders.shift();
    }
    const name = folders.join("/");
    if (!photo.test(path) || !name) {
      if (!table.test(path)) others.push(path);
      continue;
    }
    const known = classes.get(name);
    if (known) known.files += 1;
    else classes.set(name, { name, files: 1, sample: file });
  }
  const found = [...classes.values()].sort((a, b) => a.name.localeCompare(b.name));
  return { classes: found, others, bytes, parts: [...parts] };
}

/** Return one zip without compression: photos are compressed already. */
export async function pack(from: Chosen): Promise<File> {
  if (from.zip) return from.zip;
  const stream = makeZip(
    from.items.map(({ path, file }) => ({ name: path, lastModified: file.lastModified, input: file })),
  );
  const blob = await new Response(stream).blob();
  return new File([blob], `${from.name}.zip`, { type: "application/zip" });
}
