// Reads the offline map: PMTiles version 3 (github.com/protomaps/PMTiles, spec/v3) from bytes on
// the phone, and Mapbox Vector Tiles 2.1 in them. Draws nothing.
const read = new TextDecoder();

/** A cursor over protobuf and varint bytes. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }
  get more() { return this.at < this.bytes.length; }
  varint() {
    let value = 0;
    for (let place = 1; ; place *= 128) {
      const byte = this.bytes[this.at];
      this.at += 1;
      if (byte === undefined) throw new RangeError("the map ends too early");
      value += (byte & 127) * place;
      if (byte < 128) return value;
    }
  }
  part() {
    const long = this.varint();
    this.at += long;
    return this.bytes.subarray(this.at - long, this.at);
  }
  skip(kind) {
    if (kind === 0) this.varint();
    else if (kind === 1) this.at += 8;
    else if (kind === 2) this.part();
    else this.at += 4;
  }
}

async function unpacked(bytes, kind) {
  if (kind <= 1) return bytes;
  if (kind !== 2) throw new TypeError("this map is packed in a way that the phone cannot read");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Where a tile stands on the Hilbert curve over all zooms. */
export function tileId(z, x, y) {
  let id = 0;
  for (let i = 0; i < z; i += 1) id += 4 ** i;
  for (let s = 2 ** (z - 1); s >= 1; s /= 2) {
    const rx = x & s ? 1 : 0;
    const ry = y & s ? 1 : 0;
    id += s * s * ((3 * rx) ^ ry);
    if (ry === 0) {
      if (rx === 1) [x, y] = [s - 1 - x, s - 1 - y];
      [x, y] = [y, x];
    }
    x &= s - 1 || 0;
    y &= s - 1 || 0;
  }
  return id;
}

/** A map pack: `zooms`, `bounds`, and `tile(z, x, y)` → layers or null. */
export class Pack {
  constructor(blob) {
    this.blob = blob;
    this.leaves = new Map();
  }

  static async open(blob) {
    const pack = new Pack(blob);
    const head = new DataView(await blob.slice(0, 127).arrayBuffer());
    const name = read.decode(new Uint8Array(head.buffer, 0, 7));
    if (name !== "PMTiles" || head.getUint8(7) !== 3) throw new TypeError("this is no map of version 3");
    const long = (at) => Number(head.getBigUint64(at, true));
    pack.where = { root: [long(8), long(16)], leaves: long(40), tiles: long(56) };
    pack.packing = { inner: head.getUint8(97), tile: head.getUint8(98) };
    pack.zooms = [head.getUint8(100), head.getUint8(101)];
    pack.bounds = [102, 106, 110, 114].map((at) => head.getInt32(at, true) / 1e7);
    pack.root = await pack.directory(...pack.where.root);
    return pack;
  }

  async bytes(at, long) {
    return new Uint8Array(await this.blob.slice(at, at + long).arrayBuffer());
  }

  async directory(at, long) {
    const from = new Reader(await unpacked(await this.bytes(at, long), this.packing.inner));
    const rows = Array.from({ length: from.varint() }, () => ({}));
    let id = 0;
    for (const row of rows) row.id = id += from.varint();
    for (const row of rows) row.run = from.varint();
    for (const row of rows) row.long = from.varint();
    rows.forEach((row, i) => {
      const told = from.varint();
      row.at = told === 0 && i > 0 ? rows[i - 1].at + rows[i - 1].long : told - 1;
    });
    return rows;
  }

  async tile(z, x, y) {
    const id = tileId(z, x, y);
    let rows = this.root;
    for (let depth = 0; depth < 4; depth += 1) {
      const row = rows.findLast ? rows.findLast((one) => one.id <= id) : [...rows].reverse().find((one) => one.id <= id);
      if (!row) return null;
      if (row.run > 0) {
        if (id >= row.id + row.run) return null;
        return layers(await unpacked(await this.bytes(this.where.tiles + row.at, row.long), this.packing.tile));
      }
      if (!this.leaves.has(row.at)) this.leaves.set(row.at, await this.directory(this.where.leaves + row.at, row.long));
      rows = this.leaves.get(row.at);
    }
    return null;
  }
}

/** Decode a vector tile: name → {extent, features: [{kind, tags, lines}]}; kind 1 points, 2 lines, 3 areas. */
export function layers(bytes) {
  const from = new Reader(bytes);
  const found = {};
  while (from.more) {
    const tag = from.varint();
    if (tag === 26) {
      const one = layer(from.part());
      found[one.name] = one;
    } else from.skip(tag & 7);
  }
  return found;
}

function layer(bytes) {
  const from = new Reader(bytes);
  const made = { name: "", extent: 4096, features: [] };
  const [keys, values, raw] = [[], [], []];
  while (from.more) {
    const tag = from.varint();
    if (tag === 10) made.name = read.decode(from.part());
    else if (tag === 18) raw.push(from.part());
    else if (tag === 26) keys.push(read.decode(from.part()));
    else if (tag === 34) values.push(value(from.part()));
    else if (tag === 40) made.extent = from.varint();
    else from.skip(tag & 7);
  }
  made.features = raw.map((one) => feature(one, keys, values));
  return made;
}

function value(bytes) {
  const from = new Reader(bytes);
  const tag = from.varint();
  if (tag === 10) return read.decode(from.part());
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (tag === 21) return view.getFloat32(from.at, true);
  if (tag === 25) return view.getFloat64(from.at, true);
  const number = from.varint();
  if (tag === 48) return number % 2 ? -(number + 1) / 2 : number / 2;
  return tag === 56 ? Boolean(number) : number;
}

function feature(bytes, keys, values) {
  const from = new Reader(bytes);
  const made = { kind: 0, tags: {}, lines: [] };
  while (from.more) {
    const tag = from.varint();
    if (tag === 18) {
      const pairs = new Reader(from.part());
      while (pairs.more) {
        const key = pairs.varint();
        made.tags[keys[key]] = values[pairs.varint()];
      }
    } else if (tag === 24) made.kind = from.varint();
    else if (tag === 34) made.lines = lines(from.part());
    else from.skip(tag & 7);
  }
  return made;
}

function lines(bytes) {
  const from = new Reader(bytes);
  const found = [];
  let [x, y] = [0, 0];
  const step = () => {
    const number = from.varint();
    return number % 2 ? -(number + 1) / 2 : number / 2;
  };
  while (from.more) {
    const told = from.varint();
    const [what, times] = [told & 7, told >> 3];
    for (let i = 0; i < times; i += 1) {
      if (what === 7) {
        const line = found.at(-1);
        line.push(line[0]);
        continue;
      }
      x += step();
      y += step();
      if (what === 1) found.push([]);
      found.at(-1).push([x, y]);
    }
  }
  return found;
}
