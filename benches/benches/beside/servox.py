"""What ServoX needs for the work of one of the benchmarks, which run this behind their own.

It is left as little to do as possible: no logs are written, and its events, messages and checks are run directly,
without its check loop. Prints one line: a text, a tab, how many a second, a tab, how many a CPU second.
"""

import asyncio
import inspect
import sys
import time

import loguru

loguru.logger.remove()

import servo  # noqa: E402
import servo.checks  # noqa: E402
import servo.events  # noqa: E402
import servo.pubsub  # noqa: E402

ROUND = 1.5


def work() -> int:
    ...


servo.events.create_event("work", inspect.signature(work))


class WorkConnector(servo.BaseConnector):
    config: servo.BaseConfiguration

    @servo.before_event("work")
    async def before(self) -> None:
        pass

    @servo.on_event("work")
    async def on(self) -> int:
        return 1

    @servo.after_event("work")
    async def after(self, results: list[servo.EventResult]) -> None:
        pass


async def measure(what, one):
    """Calls `one` for a while, which says how many it has done."""
    until = time.perf_counter() + ROUND / 5
    while time.perf_counter() < until:
        await one()
    began, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < ROUND:
        count += await one()
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"{what}\t{count / wall:.1f}\t{count / cpu:.1f}")


async def dispatch():
    connector = WorkConnector(config=servo.BaseConfiguration())

    async def one():
        results = await connector.dispatch_event("work")
        assert len(results) == 1
        return 1

    await measure("before+on+after, 1 connector", one)


async def pubsub():
    exchange = servo.pubsub.Exchange()
    exchange.start()
    channel = exchange.create_channel("load")
    got, done = 0, asyncio.Event()

    async def hear(message, channel):
        nonlocal got
        got += 1
        done.set()

    for _ in range(10):
        exchange.create_subscriber("load", callback=hear)
    published = 0

    async def one():
        nonlocal published
        for _ in range(100):
            await channel.publish(servo.pubsub.Message(text="some text"))
        published += 100
        while got < published * 10:
            done.clear()
            await done.wait()
        return 100

    await measure("text, 100 at a time, 10 subscribers", one)


class HundredChecks(servo.checks.BaseChecks):
    pass


for index in range(100):

    @servo.checks.check(f"check {index}", id=f"check_{index}")
    async def fine(self) -> None:
        pass

    setattr(HundredChecks, f"check_{index}", fine)


async def checks():
    async def one():
        results = await HundredChecks(servo.BaseConfiguration()).run_all()
        assert len(results) == 100, len(results)
        assert all(result.success for result in results)
        return 100

    await measure("runs of 100 checks", one)


asyncio.run({"dispatch": dispatch, "pubsub": pubsub, "checks": checks}[sys.argv[1]]())
