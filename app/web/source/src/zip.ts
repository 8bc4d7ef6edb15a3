/** The files of a zip: only the directory at its end is read, and single photos when they are shown. */

export interface Item {
  path: string;
  size: number;
  /** Read the photo, to show it. */
  open(): Promise<Blob>;
  /** Photos of a folder. */
  file?: File;
}

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const ENTRY = 0x02014b50;
const LARGEST_COMMENT = 0xffff;
/** Photos larger than this are not decompressed for a sample. */
const LARGEST_SAMPLE = 50e6;

/** Return the files of a zip. Raises RangeError if it has no directory, such as after a cut. */
export async function listZip(zip: File): Promise<Item[]> {
  const tail = await view(zip, Math.max(0, zip.size - LARGEST_COMMENT - 22), zip.size);
  let at = tail.byteLength - 22;
  while (at >= 0 && tail.getUint32(at, true) !== END) at--;
  if (at < 0) throw new RangeError("The file is no zip, or its end is missing.");
  let size = tail.getUint32(at + 12, true);
  let start = tail.getUint32(at + 16, true);
  if (at >= 20 && tail.getUint32(at - 20, true) === LOCATOR_64) {
    const place = long(tail, at - 20 + 8);
    const end = await view(zip, place, place + 56);
    if (end.getUint32(0, true) !== END_64) throw new RangeError("The end of the zip is damaged.");
    size = long(end, 40);
    start = long(end, 48);
  }
  return entries(zip, await view(zip, start, start + size));
}

function entries(zip: File, directory: DataView): Item[] {
  const found: Item[] = [];
  const decoder = new TextDecoder();
  for (let at = 0; at + 46 <= directory.byteLength; ) {
    if (directory.getUint32(at, true) !== ENTRY) {
      throw new RangeError("The directory of the zip is damaged.");
    }
    const short = (offset: number): number => directory.getUint16(at + offset, true);
    const sizes = [24, 20, 42].map((offset) => directory.getUint32(at + offset, true));
    const [names, extras, comments] = [short(28), short(30), short(32)];
    const path = decoder.decode(new Uint8Array(directory.buffer, at + 46, names));
    const next = at + 46 + names + extras + comments;
    // Sizes and places beyond 4 GB stand in the extra field 1, in this order.
    for (let extra = at + 46 + names; extra + 4 <= next - comments; ) {
      const length = directory.getUint16(extra + 2, true);
      let place = extra + 4;
      if (directory.getUint16(extra, true) === 1) {
        sizes.forEach((value, index) => {
          if (value !== 0xffffffff || place + 8 > extra + 4 + length) return;
          sizes[index] = long(directory, place);
          place += 8;
        });
      }
      extra += 4 + length;
    }
    const [size = 0, packed = 0, start = 0] = sizes;
    const member = { encrypted: (short(8) & 1) === 1, method: short(10), packed, size, start };
    if (!path.endsWith("/")) found.push({ path, size, open: () => read(zip, member) });
    at = next;
  }
  return found;
}

interface Member {
  encrypted: boolean;
  method: number;
  packed: number;
  size: number;
  start: number;
}

async function read(zip: File, member: Member): Promise<Blob> {
  const { encrypted, method, packed, size, start } = member;
  if (encrypted || size > LARGEST_SAMPLE || ![0, 8].includes(method)) return new Blob();
  const header = await view(zip, start, start + 30);
  const from = start + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  const data = zip.slice(from, from + packed);
  if (method === 0) return data;
  return new Response(data.stream().pipeThrough(new DecompressionStream("deflate-raw"))).blob();
}

async function view(file: File, start: number, end: number): Promise<DataView> {
  return new DataView(await file.slice(start, end).arrayBuffer());
}

const long = (from: DataView, at: number): number => Number(from.getBigUint64(at, true));
