import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateRawSync } from "node:zlib";
import { listZip } from "./zip.js";

const text = new TextEncoder();

/** A zip with one file; `packed` is its content as stored. `zip64`: sizes beyond 4 GB have a field. */
function zipOf(path: string, content: Uint8Array<ArrayBuffer>, method: number, zip64 = false): File {
  const packed: Uint8Array<ArrayBuffer> = method === 8 ? new Uint8Array(deflateRawSync(content)) : content;
  const name = text.encode(path);
  const local = new DataView(new ArrayBuffer(30));
  local.setUint32(0, 0x04034b50, true);
  local.setUint16(26, name.length, true);
  const extra = new DataView(new ArrayBuffer(zip64 ? 20 : 0));
  const entry = new DataView(new ArrayBuffer(46));
  entry.setUint32(0, 0x02014b50, true);
  entry.setUint16(10, method, true);
  entry.setUint32(20, zip64 ? 0xffffffff : packed.length, true);
  entry.setUint32(24, zip64 ? 0xffffffff : content.length, true);
  entry.setUint16(28, name.length, true);
  entry.setUint16(30, extra.byteLength, true);
  if (zip64) {
    extra.setUint16(0, 1, true);
    extra.setUint16(2, 16, true);
    extra.setBigUint64(4, BigInt(content.length), true);
    extra.setBigUint64(12, BigInt(packed.length), true);
  }
  const start = 30 + name.length + packed.length;
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(10, 1, true);
  end.setUint32(12, 46 + name.length + extra.byteLength, true);
  end.setUint32(16, start, true);
  return new File([local, name, packed, entry, name, extra, end], "a.zip");
}

for (const [method, zip64] of [[0, false], [8, false], [8, true]] as const) {
  test(`a file is listed and read, method ${method}${zip64 ? ", zip64" : ""}`, async () => {
    const [found, ...others] = await listZip(zipOf("cat/ä.jpg", text.encode("photo"), method, zip64));
    assert.deepEqual([found?.path, found?.size, others], ["cat/ä.jpg", 5, []]);
    assert.equal(await (await found?.open())?.text(), "photo");
  });
}

test("a zip that was cut off, or none, is named as such", async () => {
  const whole = zipOf("cat/1.jpg", text.encode("photo"), 0);
  for (const bad of [whole.slice(0, 60), new Blob(["no zip"]), new Blob()]) {
    await assert.rejects(listZip(new File([bad], "a.zip")), RangeError);
  }
});

test("folders are no files", async () => {
  assert.deepEqual(await listZip(zipOf("cat/", new Uint8Array(), 0)), []);
});
