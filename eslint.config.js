import eslint from "@eslint/js";
import tseslint from "typescript-eslint";

const noConsole = { "no-console": "error" };

export default tseslint.config(
  { ignores: ["build/", "dist/", "models/", "prebuilds/", "runs/", "node_modules/"] },
  eslint.configs.recommended,
  {
    files: ["**/*.ts"],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: {
      parserOptions: { project: "./tsconfig.test.json", tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      "@typescript-eslint/consistent-type-imports": ["error", { disallowTypeAnnotations: false }],
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", ignoreRestSiblings: true }],
      "@typescript-eslint/prefer-promise-reject-errors": "off",
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true, allowNullish: true },
      ],
      eqeqeq: "error",
    },
  },
  {
    // Library code never prints, and reads the environment in one module.
    files: ["lib/**/*.ts"],
    ignores: ["lib/cli/**"],
    rules: {
      ...noConsole,
      "no-restricted-properties": [
        "error",
        { object: "process", property: "env", message: "read it in lib/native/environment.ts" },
      ],
    },
  },
  { files: ["lib/native/environment.ts"], rules: { "no-restricted-properties": "off" } },
  {
    // chai's assertions are property reads; tests poke at values on purpose.
    files: ["test/**/*.ts"],
    rules: {
      "@typescript-eslint/explicit-module-boundary-types": "off",
      "@typescript-eslint/no-unused-expressions": "off",
      "@typescript-eslint/no-non-null-assertion": "off",
    },
  },
  {
    files: ["**/*.mjs", "eslint.config.js"],
    languageOptions: { globals: { process: "readonly", URL: "readonly", AbortController: "readonly" } },
  },
);
