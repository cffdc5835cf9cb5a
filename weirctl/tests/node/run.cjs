// Runs the tests of a Wasm test binary that wasm-bindgen has made a Node module of, as wasm-bindgen-test-runner does: every export
// `__wbgt_…` is a test, and `wasm-bindgen-test`'s own context runs them and prints its summary.
//
//   node run.cjs MODULE.js

const nocapture = false;
const handlers = {};
for (const method of ["debug", "log", "info", "warn", "error"]) {
  const original = console[method];
  console[method] = function (...args) {
    if (nocapture) original.apply(this, args);
    handlers[method]?.(args);
  };
  // What the context prints with; its own output is no test's.
  global[`__wbgtest_og_console_${method}`] = original;
}
global.__wbg_test_invoke = (f) => f();

const wasm = require(require("node:path").resolve(process.argv[2]));

async function main() {
  const context = new wasm.WasmBindgenTestContext(false);
  for (const method of ["debug", "log", "info", "warn", "error"]) handlers[method] = wasm[`__wbgtest_console_${method}`];
  context.include_ignored(false);
  context.filtered_count(0);
  const tests = Object.keys(wasm.__wasm).filter((name) => name.startsWith("__wbgt_"));
  return context.run(tests.map((name) => wasm.__wasm[name]));
}

main().then(
  (passed) => process.exit(passed ? 0 : 1),
  (error) => {
    global.__wbgtest_og_console_error(error);
    process.exit(1);
  },
);
