"""nats-py, unchanged: what its users do. Run by nats_foreign.rs, which does what a line on standard output asks for."""

import asyncio
import sys
from datetime import datetime, timedelta, timezone

import nats
from nats.errors import MaxPayloadError, NoRespondersError

URL, AUTH_URL, SLOW_URL = sys.argv[1:4]


def ask(what):
    """Has the server's side do something, and waits until it is done."""
    print(what, flush=True)
    assert sys.stdin.readline().strip() == "done"


async def in_force(client):
    """Waits until the server has what was subscribed: the PING of a first flush() overtakes a SUB that is still to be
    written."""
    await client.flush()
    await client.flush()


async def publish_and_subscribe():
    one, two = await nats.connect(URL), await nats.connect(URL)
    everything = await two.subscribe("orders.>")
    some = await two.subscribe("orders.*.new")
    await in_force(two)
    for number in range(500):
        await one.publish("orders.eu.new" if number % 2 else "orders.us", str(number).encode())
    await one.flush()
    for number in range(500):
        assert (await everything.next_msg(5)).data == str(number).encode()
    for number in range(1, 500, 2):
        assert (await some.next_msg(5)).data == str(number).encode()
    await one.close()
    await two.close()


async def queue_groups():
    publisher = await nats.connect(URL)
    clients = [await nats.connect(URL) for _ in range(3)]
    counts = [0] * 3

    def counting(place):
        async def count(_):
            counts[place] += 1

        return count

    for place, client in enumerate(clients):
        await client.subscribe("work", "workers", cb=counting(place))
        await in_force(client)
    for _ in range(900):
        await publisher.publish("work", b"x")
    await publisher.flush()
    # A member on another shard than the publisher may get its share a little later.
    while sum(counts) < 900:
        await asyncio.sleep(0.01)
    for client in clients:
        await client.drain()
    assert sum(counts) == 900 and min(counts) > 150, counts
    await publisher.close()


async def requests_and_headers():
    requester, responder = await nats.connect(URL), await nats.connect(URL)

    async def answer(message):
        await responder.publish(message.reply, message.data[::-1], headers=message.headers)

    await responder.subscribe("reverse", cb=answer)
    await in_force(responder)
    reply = await requester.request("reverse", b"abc", timeout=5, headers={"Trace": "one two"})
    assert reply.data == b"cba" and reply.headers["Trace"] == "one two", reply
    try:
        await requester.request("nobody", b"x", timeout=5)
        raise AssertionError("somebody answered")
    except NoRespondersError:
        pass
    await requester.close()
    await responder.close()


async def limits_and_unsubscribing():
    client = await nats.connect(URL)
    subscription = await client.subscribe("few")
    await subscription.unsubscribe(3)
    for _ in range(10):
        await client.publish("few", b"x")
    await client.flush()
    assert len([message async for message in subscription.messages]) == 3
    large = await client.subscribe("large")
    await client.publish("large", b"x" * client.max_payload)
    assert len((await large.next_msg(5)).data) == client.max_payload
    try:
        await client.publish("large", b"x" * (client.max_payload + 1))
        raise AssertionError("too much was taken")
    except MaxPayloadError:
        pass
    await client.drain()


async def authorization():
    client = await nats.connect(AUTH_URL, user="ann", password="right")
    await client.flush()
    errors = []

    async def note(error):
        errors.append(str(error).lower())

    try:
        await nats.connect(AUTH_URL, user="ann", password="wrong", allow_reconnect=False, error_cb=note)
        raise AssertionError("a wrong password was taken")
    except Exception as error:  # noqa: BLE001, what nats-py raises here differs by version
        errors.append(str(error).lower())
    assert any("authorization violation" in error for error in errors), errors
    await client.close()


async def slow_consumer():
    cut = asyncio.Event()

    async def note():
        cut.set()

    client = await nats.connect(SLOW_URL, disconnected_cb=note)
    await client.subscribe("flood", pending_bytes_limit=1 << 30, pending_msgs_limit=1 << 30)
    await in_force(client)
    # Nothing is read while the flood comes: this blocks the loop.
    ask("flood")
    await asyncio.wait_for(cut.wait(), 20)
    await client.close()


async def reconnecting():
    back, leaving = asyncio.Event(), asyncio.Event()

    async def note_back():
        back.set()

    client = await nats.connect(URL, reconnected_cb=note_back, reconnect_time_wait=0.1, max_reconnect_attempts=-1)
    subscription = await client.subscribe("survives")
    await client.flush()
    ask("restart")
    await asyncio.wait_for(back.wait(), 20)
    await client.publish("survives", b"still here")
    assert (await subscription.next_msg(5)).data == b"still here"

    async def note_leaving():
        leaving.set()

    observer = await nats.connect(URL, lame_duck_mode_cb=note_leaving)
    ask("lame duck")
    await asyncio.wait_for(leaving.wait(), 20)
    await observer.close()
    await client.close()


async def acknowledgements():
    client = await nats.connect(URL)
    dead = await client.subscribe("$DLQ.>")
    jobs = await client.subscribe("jobs.*", "builders;ack;wait=5s;max=3;backoff=1ms..1ms")
    await client.flush()
    await client.publish("jobs.one", b"1", headers={"Ringbolt-Priority": "high", "Trace": "7"})
    first = await jobs.next_msg(5)
    assert first.data == b"1" and first.headers["Trace"] == "7"
    await first.nak()
    second = await jobs.next_msg(5)
    assert second.data == b"1" and second.headers["Ringbolt-Deliveries"] == "2"
    assert second.metadata.num_delivered == 2
    await second.in_progress()
    await second.ack_sync(timeout=5)

    js = client.jetstream()
    for duplicate in (None, True):
        confirmed = await js.publish("jobs.once", b"5", stream="ringbolt", headers={"Nats-Msg-Id": "five"})
        assert confirmed.duplicate == duplicate, confirmed
    once = await jobs.next_msg(5)
    assert once.data == b"5"
    await once.ack()

    await client.publish("jobs.two", b"2")
    await (await jobs.next_msg(5)).term()
    letter = await dead.next_msg(5)
    assert letter.subject == "$DLQ.rejected.jobs.two" and letter.data == b"2"
    assert letter.headers["Ringbolt-Subject"] == "jobs.two"
    assert letter.headers["Ringbolt-Deliveries"] == "1"

    await client.publish("jobs.three", b"3")
    for _ in range(3):
        await (await jobs.next_msg(5)).nak()
    letter = await dead.next_msg(5)
    assert letter.subject == "$DLQ.exhausted.jobs.three", letter.subject

    soon = datetime.now(timezone.utc) - timedelta(seconds=1)
    await client.publish("jobs.late", b"4", headers={"Ringbolt-Deadline": soon.isoformat()})
    letter = await dead.next_msg(5)
    assert letter.subject == "$DLQ.expired.jobs.late", letter.subject
    await client.close()


async def gathering():
    client = await nats.connect(URL)

    async def answer(request):
        await request.respond(b"here")

    for _ in range(5):
        await client.subscribe("who", cb=answer)
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)
    await client.flush()
    await client.publish("who", b"", reply=inbox, headers={"Ringbolt-Gather": "3"})
    for _ in range(3):
        assert (await replies.next_msg(5)).data == b"here"
    assert (await replies.next_msg(5)).headers["Ringbolt-Gathered"] == "3"

    # The responder takes longer than the requester waits.
    async def too_late(request):
        await asyncio.sleep(0.5)
        await request.respond(b"late")
        await request.respond(b"never")

    await client.subscribe("slow", cb=too_late)
    soon = datetime.now(timezone.utc) + timedelta(milliseconds=100)
    await client.publish("slow", b"", reply=inbox, headers={"Ringbolt-Deadline": soon.isoformat()})
    await asyncio.sleep(1)
    await client.publish(inbox, b"in between")
    assert replies.pending_msgs == 0, "nothing but what was wanted"
    await client.close()


async def main():
    for flow in (
        acknowledgements,
        gathering,
        publish_and_subscribe,
        queue_groups,
        requests_and_headers,
        limits_and_unsubscribing,
        authorization,
        slow_consumer,
        reconnecting,
    ):
        await asyncio.wait_for(flow(), 60)
        print(f"flow {flow.__name__}", flush=True)
    print("passed", flush=True)


asyncio.run(main())
