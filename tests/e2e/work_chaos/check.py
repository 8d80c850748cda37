"""Checks the journals of publishers and workers: check.py DEAD JOURNAL...

DEAD has the ids of the dead letters, one a line. Exits with 1 and the faults if a job is lost, was acknowledged by a token
that was no longer current, or was delivered again after it was done. Prints the figures otherwise.

The daemon may lose acknowledgements when it is killed, and then delivers the job again. A token begins with the run of the
daemon, and within a run the numbers of tokens rise. On a bus of several machines, what follows names the consumer and the node.
"""

import sys
from collections import Counter, defaultdict


def parse(token):
    numbers, _, node = token.partition(":")
    run, number = numbers.split("-")
    return (node, int(run, 16)), int(number, 16)


published, takes, sent, done = set(), defaultdict(set), defaultdict(set), defaultdict(set)
counts, faults = Counter(), []
with open(sys.argv[1]) as file:
    dead = set(file.read().split())
for path in sys.argv[2:]:
    with open(path) as file:
        for line in file:
            what, *fields = line.split()
            if what == "published":
                published.add(fields[0])
            elif what == "take":
                event, token, attempt = fields
                if parse(token) in takes[event]:
                    faults.append(f"the token {token} of {event} was delivered twice")
                takes[event].add(parse(token))
                counts["redelivered"] += int(attempt) > 1
                if int(attempt) > 5:
                    faults.append(f"attempt {attempt} of {event}")
            else:
                verb, event, token = fields
                counts[f"{what} {verb}"] += 1
                if what == "send" and verb == "ack":
                    sent[event].add(parse(token))
                elif what == "done" and verb == "ack":
                    done[event].add(parse(token))

for event in published:
    if done[event]:
        counts["acknowledged"] += 1
    elif event in dead:
        counts["dead"] += 1
    elif sent[event]:
        # The worker was killed before it could note the reply.
        counts["acknowledged by a killed worker"] += 1
    else:
        faults.append(f"the job {event} is lost")

for event, tokens in done.items():
    runs = [run for run, _ in tokens]
    counts["acknowledgements lost in a crash"] += len(runs) - 1 if runs else 0
    if len(set(runs)) < len(runs):
        faults.append(f"{event} was acknowledged twice in one run: {tokens}")
    for run, number in tokens:
        later = [token for token in takes[event] if token[0] == run and token[1] > number]
        if later:
            faults.append(f"{event} was acknowledged by a token that was not current, before {later}")

if not published:
    faults.append("nothing was published")
counts["published"] = len(published)
counts["deliveries"] = sum(map(len, takes.values()))
counts["delivered and not answered to the publisher"] = len(takes.keys() - published)
for fault in faults[:20]:
    print(fault)
if faults:
    print(f"{len(faults)} faults")
for what, count in sorted(counts.items()):
    print(f"{what}: {count}")
sys.exit(bool(faults))
