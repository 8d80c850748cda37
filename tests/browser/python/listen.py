"""One stream of httpx-sse: listen.py URL. Says each event on stdout, as one JSON object a line.

The package reads one answer. Going on from the last id is its user's part, and this is how its documentation does it.
"""

import json
import sys
import time

import httpx
from httpx_sse import connect_sse

last, wait = "", 0.1
with httpx.Client(timeout=None, trust_env=False) as client:
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        try:
            with connect_sse(client, "GET", sys.argv[1], headers=headers) as source:
                for event in source.iter_sse():
                    last, wait = event.id, (event.retry or 100) / 1000
                    heard = {"id": event.id, "type": event.event, "data": event.data}
                    print(json.dumps(heard), flush=True)
        except httpx.TransportError:
            pass
        time.sleep(min(wait, 1))
