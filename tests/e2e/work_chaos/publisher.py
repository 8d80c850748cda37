"""Publishes jobs durably: publisher.py SOCKET JOURNAL JOBS

The journal has `published ID` for each job that the daemon has answered. A job without an answer is published again.
"""

import sys

from bus import Closed, Connection, Journal

WINDOW = 100

path, journal, jobs = sys.argv[1], Journal(sys.argv[2]), int(sys.argv[3])
left = list(range(jobs))
while left:
    try:
        connection = Connection(path)
        while left:
            some = left[:WINDOW]
            publishes = [{"topic": f"jobs/{n % 7}", "data": str(n), "ack": "durable"} for n in some]
            connection.send({"publish": publish} for publish in publishes)
            answered = 0
            while answered < len(some):
                for reply in connection.receive():
                    if "published" not in reply:
                        raise SystemExit(f"not published: {reply}")
                    journal.note("published", reply["published"]["id"])
                    answered += 1
                    left.pop(0)
    except Closed:
        pass
