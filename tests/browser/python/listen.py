"""One client of event streams: listen.py CLIENT URL. Prints each event as a JSON object on a line of its own.

Some clients reconnect by themselves. Others read one response: for those this file has the loop that their users write,
which waits for a second and resumes after the last id. Types that begin with `$` belong to the bus and are not printed.
"""

import asyncio
import importlib.util
import json
import os
import sys
import time
from importlib.metadata import distribution

CLIENTS = {}


def client(name):
    """Registers a client under its name."""

    def register(listen):
        CLIENTS[name] = listen
        return listen

    return register


class Position:
    """The id after which a client resumes."""

    def __init__(self):
        self.id = ""

    def headers(self):
        return {"Last-Event-ID": self.id} if self.id else {}


def parsed(lines, position):
    """Yields the events in the lines of a stream."""
    kind, data = "", []
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield kind or "message", "\n".join(data)
            kind, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            kind = value
        elif field == "id":
            position.id = value


def resumed(connect, broken):
    """Yields the events of one connection after another. `broken` is the error of a client whose connection breaks."""
    position = Position()
    while True:
        try:
            yield from connect(position)
        except broken:
            pass
        time.sleep(1)


@client("requests iter_lines")
def requests_lines(url):
    import requests

    def connect(position):
        with requests.get(url, headers=position.headers(), stream=True) as response:
            # Bytes, because text would also be split at U+2028 and other characters that do not end a line of a stream.
            yield from parsed((line.decode() for line in response.iter_lines()), position)

    return resumed(connect, requests.RequestException)


@client("requests iter_content")
def requests_content(url):
    import requests

    def connect(position):
        with requests.get(url, headers=position.headers(), stream=True) as response:
            yield from parsed(split_lines(response.iter_content(chunk_size=None)), position)

    return resumed(connect, requests.RequestException)


def split_lines(pieces):
    """Yields the lines of a stream that arrives in pieces."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)


@client("sseclient-py")
def sseclient_py(url):
    import requests
    from sseclient import SSEClient

    def connect(position):
        with requests.get(url, headers=position.headers(), stream=True) as response:
            for event in SSEClient(response).events():
                position.id = event.id or position.id
                yield event.event, event.data

    return resumed(connect, requests.RequestException)


@client("sseclient")
def sseclient(url):
    # sseclient-py has a module of the same name, which Python prefers.
    path = distribution("sseclient").locate_file("sseclient.py")
    spec = importlib.util.spec_from_file_location("sseclient_0", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for event in module.SSEClient(url):
        yield event.event, event.data


@client("launchdarkly-eventsource")
def launchdarkly(url):
    from ld_eventsource import SSEClient
    from ld_eventsource.config import ErrorStrategy

    for event in SSEClient(url, error_strategy=ErrorStrategy.always_continue()).events:
        yield event.event, event.data


@client("requests-sse")
def requests_sse(url):
    from requests_sse import EventSource

    with EventSource(url) as events:
        for event in events:
            yield event.type, event.data


@client("httpx-sse")
def httpx_sync(url):
    import httpx
    from httpx_sse import connect_sse

    def connect(position):
        with connect_sse(http, "GET", url, headers=position.headers()) as source:
            for event in source.iter_sse():
                position.id = event.id
                yield event.event, event.data

    with httpx.Client(timeout=httpx.Timeout(5, read=None)) as http:
        yield from resumed(connect, httpx.TransportError)


@client("httpx-sse async")
async def httpx_async(url):
    import httpx
    from httpx_sse import aconnect_sse

    position = Position()
    async with httpx.AsyncClient(timeout=httpx.Timeout(5, read=None)) as http:
        while True:
            try:
                async with aconnect_sse(http, "GET", url, headers=position.headers()) as source:
                    async for event in source.aiter_sse():
                        position.id = event.id
                        yield event.event, event.data
            except httpx.TransportError:
                pass
            await asyncio.sleep(1)


@client("aiohttp-sse-client")
async def aiohttp_sse(url):
    import aiohttp
    from aiohttp_sse_client.client import EventSource
    from multidict import CIMultiDict

    position = Position()
    # By default aiohttp ends a response after five minutes.
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        while True:
            try:
                headers = CIMultiDict(position.headers())
                async with EventSource(url, session=session, headers=headers) as events:
                    async for event in events:
                        position.id = event.last_event_id
                        yield event.type or "message", event.data
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(1)


async def in_turn(events, say):
    async for event in events:
        say(*event)


def main():
    _, name, url = sys.argv
    # Some clients print their errors.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout = sys.stderr

    def say(kind, data):
        if not kind.startswith("$"):
            print(json.dumps({"type": kind, "data": data}), file=output, flush=True)

    events = CLIENTS[name](url)
    if hasattr(events, "__aiter__"):
        asyncio.run(in_turn(events, say))
    for event in events:
        say(*event)


main()
