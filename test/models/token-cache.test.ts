import { copyFile, readdir, readFile, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { TokenCache } from "../../lib/models/token-cache.js";
import { Tokenizer } from "../../lib/models/tokenizer.js";
import { folderWith, removeFolders } from "../data/folder.js";
import { tinyTokenizer, vocabulary } from "./tiny-tokenizer.js";

/** Counts what it had to make. */
class CountingCache extends TokenCache {
  made = 0;

  override get(key: string, make: () => Promise<Int32Array[]>): Promise<Int32Array[]> {
    return super.get(key, () => {
      this.made++;
      return make();
    });
  }
}

const open = (folder: string, limit = 1e9): CountingCache => new CountingCache(folder, { limit });
const newFolder = async (): Promise<string> => join(await folderWith({}), "tokens");
const plain = (ids: readonly Int32Array[]): number[][] => ids.map((own) => [...own]);
const key = (digit: string): string => digit.repeat(64);

describe("TokenCache", () => {
  afterEach(removeFolders);

  it("gives the ids that were made, also to a later process, and makes them once", async () => {
    const folder = await newFolder();
    const ids = [
      Int32Array.of(1, 2, 3),
      new Int32Array(0),
      Int32Array.of(2 ** 31 - 1, -1, 0),
      Int32Array.of(7),
    ];
    const cache = open(folder);
    expect(plain(await cache.get(key("a"), async () => ids))).to.deep.equal(plain(ids));
    expect(plain(await cache.get(key("a"), async () => []))).to.deep.equal(plain(ids));
    const later = open(folder);
    const kept = await later.get(key("a"), async () => []);
    expect(plain(kept)).to.deep.equal(plain(ids));
    for (const own of kept) expect(own).to.be.instanceOf(Int32Array);
    expect([cache.made, later.made]).to.deep.equal([1, 0]);
    expect(await later.get(key("b"), async () => [])).to.deep.equal([]);
    expect(await readdir(folder)).to.have.members([`${key("a")}.tokens`, `${key("b")}.tokens`]);
  });

  it("makes ids once for all who ask meanwhile, and anew after an error", async () => {
    const cache = open(await newFolder());
    const failing = cache.get(key("a"), () => Promise.reject(new Error("no such luck")));
    expect(await failing.catch((error: Error) => error.message)).to.equal("no such luck");
    const both = await Promise.all([1, 2].map((id) => cache.get(key("a"), async () => [Int32Array.of(id)])));
    expect(both.map(plain)).to.deep.equal([[[1]], [[1]]]);
    expect(cache.made).to.equal(2);
  });

  const damages: [name: string, damage: (file: string, other: string) => Promise<void>][] = [
    ["an empty file", (file) => truncate(file, 0)],
    ["a header without content", (file) => truncate(file, 40)],
    ["one that was cut", (file) => truncate(file, 55)],
    ["one of another form", (file) => flip(file, 7)],
    ["a wrong checksum", (file) => flip(file, 20)],
    ["another number of texts", (file) => flip(file, 40)],
    ["another id", (file) => flip(file, 60)],
    ["one with something behind it", async (file) => writeFile(file, "more", { flag: "a" })],
    ["another key's", (file, other) => copyFile(other, file)],
  ];
  for (const [name, damage] of damages) {
    it(`makes a damaged entry anew: ${name}`, async () => {
      const folder = await newFolder();
      const ids = [Int32Array.of(1, 2, 3), Int32Array.of(4)];
      await open(folder).get(key("a"), async () => ids);
      await open(folder).get(key("b"), async () => [Int32Array.of(9)]);
      const file = join(folder, `${key("a")}.tokens`);
      const whole = await readFile(file);
      await damage(file, join(folder, `${key("b")}.tokens`));
      expect((await readFile(file)).equals(whole)).to.equal(false);
      const cache = open(folder);
      expect(plain(await cache.get(key("a"), async () => ids))).to.deep.equal(plain(ids));
      expect(cache.made).to.equal(1);
      expect((await readFile(file)).equals(whole)).to.equal(true);
      expect(plain(await cache.get(key("a"), async () => []))).to.deep.equal(plain(ids));
    });
  }

  it("stays below its limit: what was used longest ago goes, and what is larger is not kept", async () => {
    const folder = await newFolder();
    const ids = [new Int32Array(100)]; // 40 + 8 + 400 bytes
    const cache = open(folder, 1500);
    const ago = async (digit: string, seconds: number): Promise<void> => {
      const then = new Date(Date.now() - seconds * 1000);
      await utimes(join(folder, `${key(digit)}.tokens`), then, then);
    };
    for (const digit of ["a", "b", "c"]) await cache.get(key(digit), async () => ids);
    await ago("a", 300);
    await ago("b", 200);
    await ago("c", 100);
    // Of a process that died; of one that is writing; and what is not the cache's.
    const part = `${key("f")}.tokens.0123abcd.part`;
    const fresh = `${key("f")}.tokens.0123abce.part`;
    for (const name of [part, fresh, "notes"]) await writeFile(join(folder, name), new Uint8Array(2000));
    for (const name of [part, "notes"]) await utimes(join(folder, name), 0, 0);
    await cache.get(key("a"), async () => []); // used now
    await cache.get(key("d"), async () => ids);
    const left = [...["a", "c", "d"].map((digit) => `${key(digit)}.tokens`), fresh, "notes"];
    expect(await readdir(folder)).to.have.members(left);
    await cache.get(key("e"), async () => [new Int32Array(400)]);
    expect(await readdir(folder)).to.have.members(left);
    expect((await stat(join(folder, `${key("d")}.tokens`))).size).to.equal(448);
  });

  it("says once where nothing can be written, and goes on without", async () => {
    const folder = await folderWith({ tokens: "a file" });
    const warnings: string[] = [];
    const cache = new TokenCache(join(folder, "tokens"), {
      limit: 1e9,
      onWarning: (text) => warnings.push(text),
    });
    for (const digit of ["a", "b"]) {
      expect(plain(await cache.get(key(digit), async () => [Int32Array.of(5)]))).to.deep.equal([[5]]);
    }
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.match(/tokens: tokens cannot be kept there .*EEXIST.*XDG_CACHE_HOME/);
  });
});

describe("a tokenizer with a cache", () => {
  afterEach(removeFolders);
  const texts = Array.from(
    { length: 5000 },
    (_, i) => `${vocabulary[3 + (i % 5)]} ${vocabulary[3 + (i % 3)]} dog sat`,
  );

  const openWith = async (cache: TokenCache | undefined, file = tinyTokenizer()): Promise<Tokenizer> =>
    Tokenizer.open(await folderWith({ "tokenizer.json": file }), { cache });

  it("gives the ids that it gives without", async () => {
    const folder = await newFolder();
    const expected = plain(await (await openWith(undefined)).encode(texts));
    for (const made of [1, 0]) {
      const cache = open(folder);
      expect(plain(await (await openWith(cache)).encode(texts))).to.deep.equal(expected);
      expect(cache.made).to.equal(made);
    }
  });

  it("takes nothing of another tokenizer, of other texts or of another way to encode", async () => {
    const folder = await newFolder();
    const cache = open(folder);
    const tokenizer = await openWith(cache);
    await tokenizer.encode(texts);
    const bare = plain(await tokenizer.encode(texts, { specialTokens: false }));
    expect(bare[0]).to.deep.equal([3, 3, 2, 5]);
    expect(cache.made).to.equal(2);
    const without = tinyTokenizer({ template: {} });
    expect(plain(await (await openWith(cache, without)).encode(texts))).to.deep.equal(bare);
    expect(cache.made).to.equal(3);
    // The same letters, cut into texts elsewhere.
    const [first, second, ...rest] = texts;
    const moved = [`${first} ${second!.split(" ")[0]}`, second!.split(" ").slice(1).join(" "), ...rest];
    expect(plain(await tokenizer.encode(moved))[0]).to.deep.equal([3, 3, 2, 5, 4, 1]);
    expect(plain(await tokenizer.encode(texts.toReversed()))[4999]).to.deep.equal([3, 3, 2, 5, 1]);
    expect(cache.made).to.equal(5);
  });

  it("keeps no few texts", async () => {
    const cache = open(await newFolder());
    await (await openWith(cache)).encode(texts.slice(0, 100));
    expect(cache.made).to.equal(0);
  });
});

async function flip(file: string, byte: number): Promise<void> {
  const bytes = await readFile(file);
  bytes[byte]! ^= 1;
  await writeFile(file, bytes);
}
