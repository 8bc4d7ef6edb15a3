/** Photos that a person has dropped or chosen: what they are before they are sent. */
import { makeZip } from "client-zip";
import { listZip, type Item } from "./zip";

export interface Chosen {
  name: string;
  items: Item[];
  /** A zip is sent as it is. */
  zip?: File;
  /** Why the zip could not be read here. The service says more. */
  unread?: string;
}

export interface Summary {
  classes: { name: string; files: number; training: number; sample: Item }[];
  /** Photos in a folder `unlabelled/`. */
  unlabelled: Item[];
  /** Files that are no photos by their name. */
  others: string[];
  empty: string[];
  bytes: number;
  parts: string[];
}

const photo = /\.(jpe?g|png|webp|gif|bmp|tiff?|heic|heif|avif)$/i;
const table = /\.(csv|tsv|txt|json)$/i;
const hidden = /(^|\/)(\.|__MACOSX)/;
const splits = ["train", "val", "test"];
const unlabelledFolder = /^unlabell?ed([ _-]?(images?|photos?|pictures?|data|dataset|set|files?))?$/i;

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

export async function fromFiles(files: File[]): Promise<Chosen> {
  const [only] = files;
  if (files.length === 1 && only && isZip(only)) {
    const zip = { name: only.name.replace(/\.zip$/i, ""), zip: only };
    try {
      return { ...chosen(await listZip(only)), ...zip };
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return { ...zip, items: [], unread: error.message };
    }
  }
  return chosen(files.map((file) => itemOf(file.webkitRelativePath || file.name, file)));
}

const itemOf = (path: string, file: File): Item => ({
  path,
  size: file.size,
  open: () => Promise.resolve(file),
  file,
});

async function walk(entry: FileSystemEntry, items: Item[]): Promise<void> {
  const path = entry.fullPath.replace(/^\//, "");
  if (hidden.test(path)) return;
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) =>
      (entry as FileSystemFileEntry).file(resolve, reject),
    );
    items.push(itemOf(path, file));
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
  const classes = new Map<string, Summary["classes"][number]>();
  const unlabelled: Item[] = [];
  const others: string[] = [];
  const empty: string[] = [];
  const parts = new Set<string>();
  let bytes = 0;
  for (const item of items) {
    const { path, size } = item;
    bytes += size;
    const folders = path.split("/").slice(0, -1);
    const [part] = folders;
    let training = 1;
    if (part !== undefined && splits.includes(part.toLowerCase())) {
      parts.add(part);
      folders.shift();
      training = part.toLowerCase() === "train" ? 1 : 0;
    }
    const name = folders.join("/");
    if (!photo.test(path) || !name) {
      if (!table.test(path)) others.push(path);
      continue;
    }
    if (size === 0) empty.push(path);
    if (training && unlabelledFolder.test(folders[0] ?? "")) {
      unlabelled.push(item);
      continue;
    }
    const known = classes.get(name) ?? { name, files: 0, training: 0, sample: item };
    if (known.sample.size === 0) known.sample = item;
    known.files += 1;
    known.training += training;
    classes.set(name, known);
  }
  const found = [...classes.values()].sort((a, b) => a.name.localeCompare(b.name));
  return { classes: found, unlabelled, others, empty, bytes, parts: [...parts] };
}

/** Return one zip without compression: photos are compressed already. */
export async function pack(from: Chosen): Promise<File> {
  if (from.zip) return from.zip;
  const stream = makeZip(
    inOrder(from).map(({ path, file }) => ({ name: path, lastModified: file.lastModified, input: file })),
  );
  const blob = await new Response(stream).blob();
  return new File([blob], `${from.name}.zip`, { type: "application/zip" });
}

/** Return a text that differs between different photos: names, sizes and times of all files. */
export async function markOf(from: Chosen): Promise<string> {
  const files = from.zip ? [{ path: from.zip.name, file: from.zip }] : inOrder(from);
  const text = JSON.stringify(files.map(({ path, file }) => [path, file.size, file.lastModified]));
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return [...new Uint8Array(digest).slice(0, 16)].map((byte) => byte.toString(16)).join("-");
}

/** The same photos make the same zip. */
function inOrder(from: Chosen): { path: string; file: File }[] {
  return from.items
    .flatMap(({ path, file }) => (file ? [{ path, file }] : []))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}
