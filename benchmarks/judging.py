"""Verdicts a second of an endpoint that takes 200 ms, beside what its latency allows.

    OMP_NUM_THREADS=1 python benchmarks/judging.py [--verdicts 1000] [--concurrency 32]

The endpoint is a process of its own on the loopback that answers every request after 200 ms. Ideal
is verdicts / concurrency × 200 ms. Pictures are 224 px, blacked out but for a disc. Then the same
run again, from the cache.
"""

import argparse
import asyncio
import json
import logging
import multiprocessing
import tempfile
import time

import numpy as np

from vlground.contracts import JudgeRequest
from vlground.judging.chat import ChatJudge

LATENCY = 0.2
SIDE = 224


def serve(port):
    """Answer for ever; the port goes through the pipe."""
    from aiohttp import web

    words = {"description": "a wheel", "justification": "wheels belong to it", "score": 4}
    choice = {"index": 0, "message": {"content": json.dumps(words)}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 900, "completion_tokens": 60}
    body = {"model": "judge-1", "choices": [choice], "usage": usage}

    async def answer(request):
        await request.read()
        await asyncio.sleep(LATENCY)
        return web.json_response(body)

    async def run():
        application = web.Application(client_max_size=2**26)
        application.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def requests(count):
    """Smooth noise inside a disc, another one each."""
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 256, (28, 28, 3))
        image = np.kron(coarse, np.ones((8, 8, 1), int)) + rng.integers(-6, 7, (SIDE, SIDE, 3))
        centre = rng.integers(60, SIDE - 60, 2)
        disc = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 60**2
        shown = (image.clip(0, 255) * disc[:, :, None]).astype(np.uint8)
        yield JudgeRequest(str(number), {"object": "cat"}, (shown,))


def timed(judge, asked):
    """Seconds, and seconds to the first verdict."""
    started, first = time.perf_counter(), None
    for _, verdict in judge.judge(asked):
        first = first or time.perf_counter() - started
        assert verdict.outcome == "score", verdict
    return time.perf_counter() - started, first


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verdicts", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=32)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    server.start()
    port = here.recv()
    asked = list(requests(options.verdicts))
    ideal = options.verdicts / options.concurrency * LATENCY
    print(f"{options.verdicts} verdicts, 200 ms each, {options.concurrency} at once")
    print("run     seconds  ideal  ratio  first s  calls")
    with tempfile.TemporaryDirectory() as folder:
        for name in ("first", "second"):
            judge = ChatJudge(
                label="loopback",
                base_url=f"http://127.0.0.1:{port}/v1",
                model="judge-1",
                concurrency=options.concurrency,
                cache_dir=folder,
            )
            cpu = time.process_time()
            seconds, first = timed(judge, asked)
            cpu = time.process_time() - cpu
            ratio = f"{ideal / seconds:6.1%}" if judge.usage.calls else "     –"
            print(f"{name:7} {seconds:7.2f} {ideal:6.2f} {ratio} {first:8.3f}", end="")
            print(f" {judge.usage.calls:6}  (our CPU {cpu:.2f} s)", flush=True)
    server.terminate()


if __name__ == "__main__":
    main()
