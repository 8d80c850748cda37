"""Works for the consumer `jobs` until it is killed: worker.py SOCKET JOURNAL SEED

The journal has, in order: `take ID TOKEN ATTEMPT` for a delivery, `send VERB ID TOKEN` before a request to settle it, and
`done VERB ID TOKEN` or `stale VERB ID TOKEN` for the reply, or `unknown VERB ID TOKEN` if the log of several machines could not
be used.
"""

import random
import sys
import time
from collections import deque

from bus import Closed, Connection, Journal

# Longer than the consumer's `ack_wait`.
TOO_LONG = 1.3

path, journal, random = sys.argv[1], Journal(sys.argv[2]), random.Random(int(sys.argv[3]))


def settlement(token):
    """A verb with its request."""
    tokens = {"tokens": [token]}
    chance = random.random()
    if chance < 0.9:
        return "ack", {"ack": tokens}
    if chance < 0.94:
        return "nak", {"nak": {**tokens, "delay_ms": random.randrange(50)}}
    if chance < 0.98:
        return "release", {"release": tokens}
    return "reject", {"reject": {**tokens, "reason": "chance"}}


def work(connection):
    connection.send([{"consume": {"consumer": "jobs", "max_in_flight": 8}}])
    # Requests that were sent and not answered, in order.
    sent = deque()
    while True:
        requests = []
        for reply in connection.receive():
            if "consuming" in reply:
                continue
            if not sent and reply.get("error", {}).get("code") == "unavailable":
                # There is no worker yet.
                time.sleep(0.1)
                raise Closed
            if "event" in reply:
                event = reply["event"]
                delivery = event["delivery"]
                journal.note("take", event["id"], delivery["token"], delivery["attempt"])
                if random.random() < 0.002:
                    time.sleep(TOO_LONG)
                verb, request = settlement(delivery["token"])
                journal.note("send", verb, event["id"], delivery["token"])
                sent.append((verb, event["id"], delivery["token"]))
                requests.append(request)
                continue
            verb, event_id, token = sent.popleft()
            if "settled" in reply:
                journal.note("done", verb, event_id, token)
            elif reply.get("error", {}).get("code") == "stale_delivery":
                journal.note("stale", verb, event_id, token)
            elif reply.get("error", {}).get("code") == "unavailable":
                journal.note("unknown", verb, event_id, token)
            else:
                raise SystemExit(f"{verb} of {event_id}: {reply}")
        connection.send(requests)


while True:
    try:
        work(Connection(path))
    except Closed:
        pass
