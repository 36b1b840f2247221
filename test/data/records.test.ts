import { execFileSync } from "node:child_process";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { promptOf, readRecords, type TaskRecord } from "../../lib/data/records.js";
import { folderWith, rejection, removeFolders } from "./folder.js";

async function read(name: string, content: string | Uint8Array): Promise<TaskRecord[]> {
  return readRecords(join(await folderWith({ [name]: content }), name));
}

/** The message without the temporary folder. */
async function messageOf(name: string, content: string | Uint8Array): Promise<string> {
  const error = await rejection(read(name, content));
  expect(error.code).to.equal("DATA_INVALID");
  const at = error.message.indexOf(name);
  expect(at, error.message).to.be.above(0);
  return error.message.slice(at);
}

const good = { input: "2 + 2 =", output: "4" };

describe("reading records", () => {
  afterEach(removeFolders);

  it("reads a JSON array and JSON Lines, by content, with a byte order mark, CRLF and blank lines", async () => {
    const records = [
      { id: "a_0", instruction: "Add.\n", ...good },
      { id: 7, ...good, output: "" },
    ];
    const array = JSON.stringify(records, null, 4);
    const lines = records.map((record) => JSON.stringify(record)).join("\r\n");
    for (const [name, content] of [
      ["a.json", array],
      ["a.jsonl", array],
      ["a.jsonl", lines],
      ["a.json", `${lines}\n`],
      ["a.jsonl", `\n\n${lines}\n\n`],
      ["a.json", `\ufeff${array}`],
      ["a.jsonl", `\ufeff${lines}`],
    ] as const) {
      expect(await read(name, content), `${name}: ${content}`).to.deep.equal(records);
    }
  });

  it("puts the instruction before the input as it stands", () => {
    expect(promptOf({ instruction: "Add.\n", ...good })).to.equal("Add.\n2 + 2 =");
    expect(promptOf(good)).to.equal("2 + 2 =");
  });

  it("ignores fields it does not know", async () => {
    expect(await read("a.json", JSON.stringify([{ data_id: 3, ...good }]))).to.deep.equal([good]);
  });

  it("names record and field where a field is missing, and a misspelt one", async () => {
    const records: object[] = Array.from({ length: 20 }, () => good);
    records[17] = { id: "x", input: "a" };
    expect(await messageOf("agnews.json", JSON.stringify(records))).to.match(
      /^agnews\.json: record 17 has no "output"; found "id", "input", expected "input" and "output"/,
    );
    records[17] = { input: "a", ouput: "b" };
    expect(await messageOf("agnews.json", JSON.stringify(records))).to.contain(
      'Is "ouput" meant to be "output"?',
    );
    const lines = records.map((record) => JSON.stringify(record)).join("\n\n");
    expect(await messageOf("agnews.jsonl", lines)).to.match(
      /^agnews\.jsonl: record 17 \(line 35\) has no "output"/,
    );
    expect(await messageOf("a.json", "[{}]")).to.contain('record 0 has no "input"; found no fields');
  });

  it("names what stands in place of the expected type", async () => {
    const cases: [unknown, string][] = [
      [{ ...good, output: 4 }, 'record 1: "output" is the number 4; expected a string'],
      [{ ...good, input: null }, 'record 1: "input" is null; expected a string'],
      [{ ...good, input: ["a"] }, 'record 1: "input" is an array; expected a string'],
      [
        { ...good, instruction: {} },
        'record 1: "instruction" is an object; expected a string, or no such field',
      ],
      [{ ...good, id: true }, 'record 1: "id" is the boolean true; expected a string or a number'],
      [{ input: "", output: "a" }, 'record 1: "input" is empty'],
      ["text", 'record 1 is the string "text"; expected an object'],
      [null, "record 1 is null; expected an object"],
    ];
    for (const [record, message] of cases) {
      expect(await messageOf("a.json", JSON.stringify([good, record]))).to.contain(message);
    }
  });

  it("says which record is broken JSON, in which line", async () => {
    const sound = JSON.stringify(good);
    const cases: [name: string, content: string, where: string][] = [
      ["a.json", `[\n${sound},\n{"input": }\n]`, "record 1 (line 3)"],
      ["a.json", `[\n${sound},\n${sound}\n,]`, "record 2 (line 4)"],
      ["a.json", `[${sound},\n\n{"input": "a]},{\\"`, "record 1 (line 3)"],
      ["a.json", `[${sound}\n`, "the end of the file"],
      ["a.json", `[${sound}]\nrest`, "the text after record 0 (line 1)"],
      ["a.jsonl", `${sound}\n\n{"input": "a"`, "record 1 (line 3)"],
      ["a.json", `{\n"input": "a",\n"output": "b"\n}`, "record 0 (line 1)"],
      ["a.json", "hello", "record 0 (line 1)"],
    ];
    for (const [name, content, where] of cases) {
      const message = await messageOf(name, content);
      expect(message).to.contain(`${name}: ${where} is not JSON: `);
      expect(message).to.contain("expected a JSON array of records, or one record a line");
    }
  });

  it("refuses empty files and empty arrays", async () => {
    for (const content of ["", " \n\t", "\ufeff"]) {
      expect(await messageOf("a.json", content)).to.contain("a.json: is empty; expected a JSON array");
    }
    expect(await messageOf("a.json", "[]")).to.contain("a.json: holds no records");
  });

  it("refuses what is not UTF-8, with the line", async () => {
    const broken = Buffer.concat([Buffer.from("[\n\n"), Buffer.from([0x22, 0xff, 0x22]), Buffer.from("\n]")]);
    expect(await messageOf("a.json", broken)).to.contain(
      "a.json: is not UTF-8 text (line 3); expected UTF-8",
    );
    const latin = Buffer.from('{"input": "caf\xe9"', "latin1");
    expect(await messageOf("a.jsonl", latin)).to.contain("is not UTF-8 text (line 1)");
    const wide = Buffer.from("\ufeff[]", "utf16le");
    expect(await messageOf("a.json", wide)).to.contain("is UTF-16 text; expected UTF-8");
  });

  it("refuses what cannot be read, or would never end", async function () {
    const folder = await folderWith({ "a.json": "[]" });
    expect((await rejection(readRecords(join(folder, "b.json")))).message).to.contain(
      "b.json: cannot be read: ENOENT",
    );
    await mkdir(join(folder, "c.json"));
    expect((await rejection(readRecords(join(folder, "c.json")))).message).to.contain(
      "it is not a regular file",
    );
    if (process.platform !== "win32") {
      execFileSync("mkfifo", [join(folder, "d.json")]);
      expect((await rejection(readRecords(join(folder, "d.json")))).message).to.contain(
        "it is not a regular file",
      );
    }
    if (process.getuid?.() !== 0) {
      await chmod(join(folder, "a.json"), 0);
      expect((await rejection(readRecords(join(folder, "a.json")))).message).to.contain(
        "cannot be read: EACCES",
      );
    }
  });
});
