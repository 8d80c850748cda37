"""One reader of a stream: read.py HOW URL. Prints what it reads as JSON, one value per line."""

import json
import sys

import httpx
import requests
from sseclient import SSEClient


def decode_unicode(url):
    """Lines of text, in the charset that the response names."""
    return requests.get(url, stream=True).iter_lines(decode_unicode=True)


def httpx_lines(url):
    """Lines, with the default timeout of httpx, which is five seconds without a byte."""
    with httpx.stream("GET", url) as response:
        yield from response.iter_lines()


def behind(url):
    """The last characters of events. Reads nothing before there is a line on standard input."""
    response = requests.get(url, stream=True)
    input()
    try:
        for event in SSEClient(response).events():
            yield event.data[-3:]
    except requests.RequestException:
        yield "broken"


HOW = {"requests decode_unicode": decode_unicode, "httpx": httpx_lines, "sseclient-py behind": behind}

for found in HOW[sys.argv[1]](sys.argv[2]):
    print(json.dumps(found), flush=True)
