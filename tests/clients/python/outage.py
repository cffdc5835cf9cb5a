"""Users whose agents try again, over an SDK that tries again.

  outage.py BASE_URL

Reads a phase per line of standard input, a JSON object: `name`, `actions` (how many users want something in it) and `per_second` (how
many of them begin in a second, whatever became of those before). When all of a phase have ended it prints a JSON list with
one entry per action: when it began and ended (seconds since the epoch), whether the user got an answer, and what was raised.
"""

import asyncio
import json
import sys
import time

import openai

# The agent's loop, above the SDK's own two retries.
TRIES = 3
PAUSE = 0.02


async def action(client, question):
    begun, raised = time.time(), []
    for attempt in range(TRIES):
        try:
            await client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": question}])
            return [begun, time.time(), True, raised]
        except openai.APIError as error:
            raised.append(type(error).__name__)
            await asyncio.sleep(PAUSE * (attempt + 1))
    return [begun, time.time(), False, raised]


async def phase(client, name, actions, per_second):
    async def one(number):
        await asyncio.sleep(number / per_second)
        return await action(client, f"{name}: question {number}")

    return await asyncio.gather(*map(one, range(actions)))


async def main():
    async with openai.AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="sk-test", max_retries=2) as client:
        client = client.with_options(default_headers={"x-demo": "tokens=3,reasoning=0,tools=0"})
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await phase(client, **json.loads(line))), flush=True)


asyncio.run(main())
