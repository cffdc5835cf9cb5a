// What each SDK makes of a call that is refused, and of a stream that is cut: as ../python/refusals.py does, in the same lines of
// JSON.
//
//   node refusals.mjs BASE_URL

import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import OpenAI from "openai";

const PROMPT = "What is the weather in Paris?";
const MESSAGES = [{ role: "user", content: PROMPT }];
const WHOLE = ["429", "503"];
const STREAM = [...WHOLE, "cut ended 300", "cut ended 437", "cut broken 300", "cut broken 437", "cut 503 300", "broken 300"];

const [base] = process.argv.slice(2);

const openai = (headers) => new OpenAI({ baseURL: `${base}/v1`, apiKey: "k", maxRetries: 0, defaultHeaders: headers });
const anthropic = (headers) => new Anthropic({ baseURL: base, apiKey: "k", maxRetries: 0, defaultHeaders: headers });
const google = (headers) => new GoogleGenAI({ apiKey: "k", httpOptions: { baseUrl: base, headers } });
const CLAUDE = { model: "claude-sonnet-4-5", max_tokens: 2000, messages: MESSAGES };
const GEMINI = { model: "gemini-2.5-flash", contents: PROMPT };

const CALLS = {
  "openai.js chat": async (h) => [await openai(h).chat.completions.create({ model: "m", messages: MESSAGES })],
  "openai.js chat stream": (h) => openai(h).chat.completions.create({ model: "m", messages: MESSAGES, stream: true }),
  "openai.js responses": async (h) => [await openai(h).responses.create({ model: "m", input: PROMPT })],
  "openai.js responses stream": (h) => openai(h).responses.create({ model: "m", input: PROMPT, stream: true }),
  "openai.js embeddings": async (h) => [await openai(h).embeddings.create({ model: "m", input: "a" })],
  "openai.js models": (h) => openai(h).models.list(),
  "anthropic.js messages": async (h) => [await anthropic(h).messages.create(CLAUDE)],
  "anthropic.js messages stream": (h) => anthropic(h).messages.create({ ...CLAUDE, stream: true }),
  "google.js generate": async (h) => [await google(h).models.generateContent(GEMINI)],
  "google.js generate stream": (h) => google(h).models.generateContentStream(GEMINI),
};

/** The names of an error's classes, its own first. */
function classes(error) {
  const names = [];
  for (let at = Object.getPrototypeOf(error); at; at = Object.getPrototypeOf(at)) names.push(at.constructor.name);
  return names;
}

for (const [call, make] of Object.entries(CALLS)) {
  for (const way of call.endsWith("stream") ? STREAM : WHOLE) {
    let chunks = 0;
    let raised = null;
    try {
      for await (const _ of await make({ "x-refuse": way })) chunks += 1;
    } catch (error) {
      raised = error;
    }
    const told = { call, way, raised: raised && classes(raised), says: raised && raised.message, status: raised?.status ?? null, chunks };
    console.log(JSON.stringify(told));
  }
}
