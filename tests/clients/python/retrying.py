"""Agents that try three times, over an SDK that tries three times: python retrying.py URL ACTIONS CALLERS NAME.

Prints a JSON object: how many actions there were, and how many of them went well.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import openai

url, actions, callers, name = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=2)


def action(number):
    """What one user wants: the program above the SDK tries three times too."""
    for _ in range(3):
        try:
            client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": f"{name}: question {number}"}]
            )
            return True
        except openai.APIError:
            pass
    return False


with ThreadPoolExecutor(callers) as pool:
    well = sum(pool.map(action, range(actions)))
print(json.dumps({"actions": actions, "well": well}))
