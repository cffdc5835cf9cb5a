// Runs a proxy-wasm filter under Node's V8, the engine that Envoy has too, over answers that are handed in on stdin:
//   {"wasm": path, "seconds": s, "rounds": n,
//    "cases": [{"config": text, "request": [[name, value]…], "body": text, "response": [[name, value]…], "pieces": [hex…]}…]}
// For each case it prints how many nanoseconds one whole call takes, and how many of them the answer's body, of the
// best round; and the record, so that whoever asked can see that the work was done:
//   [{"call": ns, "body": ns, "record": text}…]
//
// The host here is as small as it can be: it hands over headers and bodies, tells the time, and takes what comes.

import { readFileSync } from 'node:fs';

const OK = 0;
const NOT_FOUND = 1;
const REQUEST_HEADERS = 0;
const REQUEST_BODY = 0;
const RESPONSE_BODY = 1;
const PLUGIN_CONFIGURATION = 7;
const ROOT = 1;

const text = new TextEncoder();

/** Headers as the ABI has them: their number, all sizes, then names and values, each with a zero behind it. */
function serialize(pairs) {
  const parts = pairs.flat().map((part) => text.encode(part));
  const size = 4 + 4 * parts.length + parts.reduce((sum, part) => sum + part.length + 1, 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, pairs.length, true);
  let at = 4 + 4 * parts.length;
  parts.forEach((part, i) => {
    view.setUint32(4 + 4 * i, part.length, true);
    bytes.set(part, at);
    at += part.length + 1;
  });
  return bytes;
}

/** What Envoy knows of a call, by path. */
function properties() {
  const number = (n) => new Uint8Array(new BigUint64Array([BigInt(n)]).buffer);
  return new Map([
    ['xds\0route_name', text.encode('bench')],
    ['xds\0cluster_name', text.encode('upstream')],
    ['upstream\0address', text.encode('127.0.0.1:8080')],
    ['upstream\0request_attempt_count', number(1)],
    ['upstream\0cx_pool_ready_duration', number(150_000)],
  ]);
}

/** A host with one filter in it. */
class Host {
  constructor(path, config) {
    this.configuration = text.encode(config);
    this.properties = properties();
    this.record = null;
    this.metrics = 0;
    this.next = ROOT + 1;
    const module = new WebAssembly.Module(readFileSync(path));
    const known = this.imports();
    const imports = {};
    for (const { module: room, name } of WebAssembly.Module.imports(module)) {
      // Calls that the filter does not make have an answer all the same.
      (imports[room] ??= {})[name] = known[name] ?? (() => NOT_FOUND);
    }
    this.filter = new WebAssembly.Instance(module, imports).exports;
    this.filter._initialize?.();
    this.filter.proxy_on_context_create(ROOT, 0);
    this.filter.proxy_on_vm_start(ROOT, 0);
    if (!this.filter.proxy_on_configure(ROOT, this.configuration.length)) throw new Error('the filter refuses its config');
  }

  /** The filter's memory; a view is lost when the memory grows. */
  get memory() {
    if (this.bytes?.buffer !== this.filter.memory.buffer) {
      this.bytes = new Uint8Array(this.filter.memory.buffer);
      this.view = new DataView(this.filter.memory.buffer);
    }
    return this.bytes;
  }

  handOver(bytes, data, size) {
    const at = this.filter.proxy_on_memory_allocate(bytes.length);
    this.memory.set(bytes, at);
    this.view.setUint32(data, at, true);
    this.view.setUint32(size, bytes.length, true);
    return OK;
  }

  string(at, size) {
    return Buffer.from(this.memory.buffer, at, size).latin1Slice();
  }

  imports() {
    const time = (at) => {
      this.memory;
      this.view.setBigUint64(at, process.hrtime.bigint(), true);
      return OK;
    };
    return {
      proxy_log: (level, at, size) => (console.error(this.string(at, size)), OK),
      proxy_get_buffer_bytes: (kind, start, max, data, size) => {
        const buffer = { [REQUEST_BODY]: this.request, [RESPONSE_BODY]: this.piece, [PLUGIN_CONFIGURATION]: this.configuration };
        return buffer[kind] ? this.handOver(buffer[kind], data, size) : NOT_FOUND;
      },
      proxy_get_header_map_pairs: (map, data, size) =>
        this.handOver(map === REQUEST_HEADERS ? this.requestHead : this.responseHead, data, size),
      proxy_get_property: (path, pathSize, data, size) => {
        const value = this.properties.get(this.string(path, pathSize));
        return value ? this.handOver(value, data, size) : NOT_FOUND;
      },
      proxy_set_property: (path, pathSize, value, size) => {
        this.record = this.memory.slice(value, value + size);
        return OK;
      },
      proxy_define_metric: (kind, name, size, id) => {
        this.memory;
        this.view.setUint32(id, ++this.metrics, true);
        return OK;
      },
      proxy_increment_metric: () => OK,
      proxy_record_metric: () => OK,
      proxy_get_current_time_nanoseconds: time,
      clock_time_get: (clock, precision, at) => time(at),
      environ_sizes_get: (count, size) => {
        this.memory;
        this.view.setUint32(count, 0, true);
        this.view.setUint32(size, 0, true);
        return OK;
      },
      environ_get: () => OK,
      random_get: (at, size) => (this.memory.fill(7, at, at + size), OK),
      proc_exit: (code) => {
        throw new Error(`the filter exits with ${code}`);
      },
    };
  }

  /** One call from its request to its log; gives the nanoseconds that the answer's body took. */
  call(ready) {
    const { filter } = this;
    const id = this.next++;
    this.requestHead = ready.requestHead;
    this.responseHead = ready.responseHead;
    this.request = ready.body;
    filter.proxy_on_context_create(id, ROOT);
    filter.proxy_on_request_headers(id, 0, 0);
    filter.proxy_on_request_body(id, ready.body.length, 1);
    filter.proxy_on_response_headers(id, 0, 0);
    const begin = process.hrtime.bigint();
    for (const piece of ready.pieces) {
      this.piece = piece;
      filter.proxy_on_response_body(id, piece.length, 0);
    }
    const took = Number(process.hrtime.bigint() - begin);
    this.piece = null;
    filter.proxy_on_response_body(id, 0, 1);
    filter.proxy_on_done(id);
    filter.proxy_on_log(id);
    filter.proxy_on_delete(id);
    return took;
  }
}

const task = JSON.parse(readFileSync(0, 'utf8'));
// One filter for all cases of a config.
const hosts = new Map();
const host = (config) => hosts.get(config) ?? hosts.set(config, new Host(task.wasm, config)).get(config);
const cases = task.cases.map(({ config, request, body, response, pieces }) => ({
  host: host(config),
  requestHead: serialize(request),
  responseHead: serialize(response),
  body: text.encode(body),
  pieces: pieces.map((piece) => new Uint8Array(Buffer.from(piece, 'hex'))),
  call: [],
  bodies: [],
}));
for (let round = 0; round <= task.rounds; round++) {
  for (const ready of cases) {
    let [calls, body] = [0, 0];
    const begin = process.hrtime.bigint();
    const end = begin + BigInt(Math.round(task.seconds * 1e9));
    let now = begin;
    while (now < end || calls === 0) {
      body += ready.host.call(ready);
      calls++;
      now = process.hrtime.bigint();
    }
    // The first rounds are for V8 to find out what is hot.
    if (round > 4 || task.rounds < 5) {
      ready.call.push(Number(now - begin) / calls);
      ready.bodies.push(body / calls);
    }
    ready.record = Buffer.from(ready.host.record ?? []).toString();
  }
}
console.log(JSON.stringify(cases.map(({ call, bodies, record }) => ({ call: Math.min(...call), body: Math.min(...bodies), record }))));
