import * as jinja from "@huggingface/jinja";

/** What is used of the engine. Its own declarations name files without extensions, which are not found from an ES module. */
interface Engine {
  Template: new (text: string) => { parsed: unknown };
  Environment: new () => { set(name: string, value: unknown): unknown };
  Interpreter: new (environment: object) => { run(parsed: unknown): { value: string } };
}

const { Environment, Interpreter, Template } = jinja as unknown as Engine;

/** A compiled Jinja template: variables in, text out. Throws what the template raises. */
export type Render = (variables: Readonly<Record<string, unknown>>) => string;

/**
 * Compiles a template with the functions that transformers gives to chat templates. The date is always the same one: a prompt must
 * not change from one day to the next, or a run that goes on tomorrow would train on others.
 * @throws a SyntaxError where the text is no template.
 */
export function compileJinja(text: string): Render {
  const { parsed } = new Template(text);
  return (variables) => {
    const environment = new Environment();
    const globals: Record<string, unknown> = { ...functions, ...variables };
    for (const [name, value] of Object.entries(globals)) environment.set(name, value);
    return new Interpreter(environment).run(parsed).value;
  };
}

const constants = { true: true, false: false, none: null, True: true, False: false, None: null };

const functions: Readonly<Record<string, unknown>> = {
  ...constants,
  raise_exception: (message: string): never => {
    throw new Error(message);
  },
  range: (first: number, end?: number, step: number = 1): number[] => {
    const [from, to] = end === undefined ? [0, first] : [first, end];
    return Array.from({ length: Math.max(0, Math.ceil((to - from) / step)) }, (_, i) => from + i * step);
  },
  // 26 July 2024: what Llama's templates themselves write where no date is known.
  strftime_now: (format: string): string =>
    format.replace(/%[YmdbBHM%]/g, (part) => dateParts[part.slice(1)] ?? part),
};

const dateParts: Readonly<Record<string, string>> = {
  ...{ Y: "2024", m: "07", d: "26", b: "Jul", B: "July", H: "00", M: "00", "%": "%" },
};
