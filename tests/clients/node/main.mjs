// Makes the same calls with real SDKs twice, to an upstream itself and through a proxy, and tells what the SDKs saw: as
// ../python/main.py does, in the same lines of JSON.
//
//   node main.mjs DIRECT THROUGH

import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const PROMPT = "What is the weather in Paris? Think, then say it in a few words.";
const TEXT = "tokens=30,reasoning=0,tools=0,prompt=40,cached=16";
const BROKEN = "tokens=20,reasoning=0,tools=0,end=error,at=5";
const SLOW = "tokens=400,reasoning=0,tools=0,prefill=5,gap=25";
const TAKEN = 4;
const COMPLETE = { ended: "complete", status: 200, error_type: null, "usage.source": "reported", unread: 0, stream: true };
const ABORTED = { ended: "client_abort", status: 200, finish_reasons: null, stream: true };

/** Puts a stream's chunks into the list, all of them or so many. */
async function take(stream, chunks, most = Infinity) {
  for await (const chunk of stream) {
    chunks.push(JSON.parse(JSON.stringify(chunk)));
    if (chunks.length >= most) break;
  }
}

const openai = (base, headers) => new OpenAI({ baseURL: `${base}/v1`, apiKey: "k", maxRetries: 0, defaultHeaders: headers });

const chat = (most) => async (base, headers, chunks) => {
  const stream = await openai(base, headers).chat.completions.create({
    model: "gpt-4o",
    messages: [{ role: "user", content: PROMPT }],
    stream: true,
    stream_options: { include_usage: true },
  });
  // Leaving the loop ends the stream, and with it the connection.
  await take(stream, chunks, most);
  if (most) return { response_id: chunks[0].id };
  const last = chunks.at(-1);
  return {
    "usage.input": last.usage.prompt_tokens,
    "usage.output": last.usage.completion_tokens,
    "usage.total": last.usage.total_tokens,
    "usage.cache_read": last.usage.prompt_tokens_details.cached_tokens,
    response_model: last.model,
    response_id: last.id,
    finish_reasons: chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.finish_reason).filter(Boolean)),
  };
};

const responses = async (base, headers, chunks) => {
  await take(await openai(base, headers).responses.create({ model: "gpt-4o", input: PROMPT, stream: true }), chunks);
  const { response } = chunks.at(-1);
  return {
    "usage.input": response.usage.input_tokens,
    "usage.output": response.usage.output_tokens,
    response_model: response.model,
    response_id: response.id,
  };
};

const message = async (base, headers, chunks) => {
  const sdk = new Anthropic({ baseURL: base, apiKey: "k", maxRetries: 0, defaultHeaders: headers });
  const ask = { model: "claude-sonnet-4-5", max_tokens: 2000, messages: [{ role: "user", content: PROMPT }], stream: true };
  await take(await sdk.messages.create(ask), chunks);
  const delta = chunks.find((event) => event.type === "message_delta");
  const { usage } = delta;
  return {
    "usage.input": usage.input_tokens + (usage.cache_read_input_tokens ?? 0) + (usage.cache_creation_input_tokens ?? 0),
    "usage.output": usage.output_tokens,
    finish_reasons: [delta.delta.stop_reason],
    response_id: chunks[0].message.id,
  };
};

const content = async (base, headers, chunks) => {
  const sdk = new GoogleGenAI({ apiKey: "k", httpOptions: { baseUrl: base, headers } });
  const stream = await sdk.models.generateContentStream({ model: "gemini-2.5-flash", contents: PROMPT });
  for await (const chunk of stream) {
    // What the SDK notes of the transport is not of the answer.
    const { sdkHttpResponse, ...told } = JSON.parse(JSON.stringify(chunk));
    chunks.push(told);
  }
  const last = chunks.at(-1);
  return {
    "usage.input": last.usageMetadata.promptTokenCount,
    "usage.output": last.usageMetadata.candidatesTokenCount + (last.usageMetadata.thoughtsTokenCount ?? 0),
    response_model: last.modelVersion,
  };
};

const OPENAI = { api: "openai.chat_completions", request_model: "gpt-4o" };
const CALLS = [
  ["openai/chat stream", TEXT, chat(), { ...OPENAI, ...COMPLETE }],
  ["openai/chat stream gzip", `${TEXT},encoding=gzip`, chat(), { ...OPENAI, ...COMPLETE }],
  ["openai/chat stream in small pieces", `${TEXT},chunk=7`, chat(), { ...OPENAI, ...COMPLETE }],
  ["openai/chat refused", "status=429", chat(), { ...OPENAI, ended: "error", status: 429 }],
  ["openai/chat stream with error", BROKEN, chat(), { ...OPENAI, ended: "error", status: 200, error_type: "server_error" }],
  ["openai/chat stream left", SLOW, chat(TAKEN), { ...OPENAI, ...ABORTED }],
  ["openai/responses stream", TEXT, responses, { ...COMPLETE, api: "openai.responses" }],
  ["anthropic/stream", TEXT, message, { ...COMPLETE, api: "anthropic.messages" }],
  ["google/stream", TEXT, content, { ...COMPLETE, api: "gemini.generate_content" }],
];

async function make(run, base, headers) {
  const chunks = [];
  try {
    return [{ chunks, error: null }, await run(base, headers, chunks)];
  } catch (error) {
    return [{ chunks, error: { class: error.constructor.name, says: String(error.message).replaceAll(base, "") } }, {}];
  }
}

const [direct, through] = process.argv.slice(2);
for (const [name, steer, run, known] of CALLS) {
  const headers = { "x-case": `node/${name}`, "x-demo": steer };
  const [sawDirect] = await make(run, direct, headers);
  const [sawThrough, facts] = await make(run, through, headers);
  console.log(
    JSON.stringify({ case: headers["x-case"], direct: sawDirect, through: sawThrough, facts: { ...facts, ...known } }),
  );
}
