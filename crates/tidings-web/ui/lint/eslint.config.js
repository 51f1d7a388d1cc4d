import hooks from "eslint-plugin-react-hooks";
import { configs, parser } from "typescript-eslint";

/** The rules of hooks, and what TypeScript does not see. */
export default [
  { ignores: ["src/generated/**"] },
  {
    files: ["src/**/*.ts", "src/**/*.tsx"],
    languageOptions: { parser, parserOptions: { ecmaFeatures: { jsx: true } } },
    plugins: { "react-hooks": hooks, ...configs.base.plugins },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "react-hooks/rules-of-hooks": "error",
      "react-hooks/exhaustive-deps": "error",
      "no-constant-condition": ["error", { checkLoops: false }],
      "no-debugger": "error",
      "no-self-assign": "error",
      "no-unsafe-finally": "error",
      "no-unreachable": "error",
      eqeqeq: ["error", "always", { null: "ignore" }],
      "prefer-const": "error",
      "@typescript-eslint/no-explicit-any": "off",
    },
  },
];
