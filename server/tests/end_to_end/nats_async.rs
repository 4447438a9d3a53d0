//! async-nats, the NATS client for Rust, unchanged: what its users do.

use crate::server::Server;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, RequestErrorKind, Subscriber};
use futures_util::StreamExt;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on one thread.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("in time") });
}

async fn connect(server: &Server) -> Client {
    async_nats::connect(&server.nats).await.expect("async-nats connects")
}

async fn next(subscriber: &mut Subscriber) -> async_nats::Message {
    subscriber.next().await.expect("a message")
}

async fn await_event(events: &mut tokio::sync::mpsc::UnboundedReceiver<Event>, wanted: &Event) {
    while let Some(event) = events.recv().await {
        if event == *wanted {
            return;
        }
    }
    panic!("no {wanted}");
}

/// Waits until so many subscriptions are in force. A flush of async-nats does not wait for the server.
async fn subscribed(client: &Client, server: &Server, count: u32) {
    client.flush().await.expect("flushes");
    server.await_metric("ringbolt_subscriptions", |number| number >= f64::from(count));
}

/// A client, and what it reports of its connection.
async fn observed(server: &Server) -> (Client, tokio::sync::mpsc::UnboundedReceiver<Event>) {
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    let options = ConnectOptions::new().event_callback(move |event| {
        let _ = sender.send(event);
        async {}
    });
    (options.connect(&server.nats).await.expect("it connects"), events)
}

#[test]
fn messages_reach_wildcards_in_order_across_shards() {
    let server = Server::start(&["--cores", "0,1"]);
    run(async {
        let (publisher, receiver) = (connect(&server).await, connect(&server).await);
        let mut all = receiver.subscribe("orders.>").await.expect("subscribes");
        let mut some = receiver.subscribe("orders.*.new").await.expect("subscribes");
        subscribed(&receiver, &server, 2).await;
        for number in 0..1000 {
            let subject = if number % 2 == 0 { "orders.eu.new" } else { "orders.us" };
            publisher.publish(subject, number.to_string().into()).await.expect("publishes");
        }
        for number in 0..1000 {
            assert_eq!(next(&mut all).await.payload, number.to_string());
        }
        for number in (0..1000).step_by(2) {
            let message = next(&mut some).await;
            assert_eq!(
                (message.payload, message.subject.as_str()),
                (number.to_string().into(), "orders.eu.new")
            );
        }
    });
}

#[test]
fn a_queue_group_shares_its_messages_fairly_across_shards() {
    let server = Server::start(&["--cores", "0,1"]);
    run(async {
        let publisher = connect(&server).await;
        let mut members = Vec::new();
        for number in 1..=4 {
            let client = connect(&server).await;
            members.push(client.queue_subscribe("work.*", "workers".into()).await.expect("subscribes"));
            subscribed(&client, &server, number).await;
        }
        for number in 0..2000 {
            publisher.publish(format!("work.{}", number % 3), "x".into()).await.expect("publishes");
        }
        publisher.flush().await.expect("flushes");
        let mut counts = Vec::new();
        for member in &mut members {
            let mut count = 0;
            while tokio::time::timeout(Duration::from_millis(200), member.next()).await.is_ok() {
                count += 1;
            }
            counts.push(count);
        }
        assert_eq!(counts.iter().sum::<usize>(), 2000, "{counts:?}");
        assert!(counts.iter().all(|&count| count > 300), "{counts:?}");
    });
}

#[test]
fn requests_are_answered_and_unanswerable_ones_are_told_at_once() {
    let server = Server::start(&["--cores", "0,1"]);
    run(async {
        let (requester, responder) = (connect(&server).await, connect(&server).await);
        let mut requests = responder.subscribe("double").await.expect("subscribes");
        subscribed(&responder, &server, 1).await;
        let service = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                let text = String::from_utf8_lossy(&request.payload).repeat(2);
                responder.publish(request.reply.expect("a reply"), text.into()).await.expect("publishes");
            }
        });
        for number in 0..100 {
            let answer = requester.request("double", number.to_string().into()).await.expect("an answer");
            assert_eq!(answer.payload, number.to_string().repeat(2));
        }
        let error = requester.request("nobody", "x".into()).await.expect_err("nobody answers");
        assert_eq!(error.kind(), RequestErrorKind::NoResponders);
        service.abort();
    });
}

#[test]
fn headers_arrive_as_they_were_sent() {
    let server = Server::start(&["--cores", "0,1"]);
    run(async {
        let (publisher, receiver) = (connect(&server).await, connect(&server).await);
        let mut messages = receiver.subscribe("with.headers").await.expect("subscribes");
        subscribed(&receiver, &server, 1).await;
        let mut headers = HeaderMap::new();
        headers.insert("Trace", "one");
        headers.append("Trace", "two words");
        let payload = vec![b'p'; 100_000];
        publisher
            .publish_with_headers("with.headers", headers.clone(), payload.clone().into())
            .await
            .expect("publishes");
        let message = next(&mut messages).await;
        assert_eq!((message.headers, message.payload), (Some(headers), payload.into()));
    });
}

#[test]
fn a_subscription_ends_after_its_number_of_messages_and_drains() {
    let server = Server::start(&["--cores", "0"]);
    run(async {
        let client = connect(&server).await;
        let mut few = client.subscribe("few").await.expect("subscribes");
        few.unsubscribe_after(3).await.expect("unsubscribes");
        let mut drained = client.subscribe("drained").await.expect("subscribes");
        for number in 0..10 {
            client.publish("few", number.to_string().into()).await.expect("publishes");
            client.publish("drained", number.to_string().into()).await.expect("publishes");
        }
        client.flush().await.expect("flushes");
        for number in 0..3 {
            assert_eq!(next(&mut few).await.payload, number.to_string());
        }
        assert!(few.next().await.is_none());
        drained.drain().await.expect("drains");
        for number in 0..10 {
            assert_eq!(next(&mut drained).await.payload, number.to_string());
        }
        assert!(drained.next().await.is_none());
        client.drain().await.expect("drains");
    });
}

#[test]
fn the_largest_payload_passes_and_the_client_knows_the_limit() {
    let server =
        Server::start(&["--cores", "0", "--payload-bytes-max", "64KiB", "--outbox-bytes-max", "1MiB"]);
    run(async {
        let client = connect(&server).await;
        assert_eq!(client.server_info().max_payload, 64 << 10);
        let mut messages = client.subscribe("large").await.expect("subscribes");
        client.publish("large", vec![b'x'; 64 << 10].into()).await.expect("publishes");
        assert_eq!(next(&mut messages).await.payload.len(), 64 << 10);
        let refused = client.publish("large", vec![b'x'; (64 << 10) + 1].into()).await;
        assert!(refused.is_err(), "the client knows the limit from INFO");
    });
}

#[test]
fn a_client_comes_back_to_a_server_started_again() {
    let mut server = Server::start(&["--cores", "0"]);
    run(async {
        let (client, mut events) = observed(&server).await;
        await_event(&mut events, &Event::Connected).await;
        let mut messages = client.subscribe("survives").await.expect("subscribes");
        client.flush().await.expect("flushes");
        let (nats, native) = (server.nats.clone(), server.native.clone());
        server.signal("TERM");
        assert!(server.await_exit().success());
        await_event(&mut events, &Event::Disconnected).await;
        let again = Server::start(&["--cores", "0", "--nats", &nats, "--native", &native]);
        await_event(&mut events, &Event::Connected).await;
        client.publish("survives", "still here".into()).await.expect("publishes");
        assert_eq!(next(&mut messages).await.payload, "still here");
        drop(again);
    });
}

#[test]
fn a_stopping_server_announces_it() {
    let server = Server::start(&["--cores", "0"]);
    run(async {
        let (client, mut events) = observed(&server).await;
        await_event(&mut events, &Event::Connected).await;
        client.flush().await.expect("flushes");
        server.signal("TERM");
        await_event(&mut events, &Event::LameDuckMode).await;
        await_event(&mut events, &Event::Disconnected).await;
    });
}

#[test]
fn a_client_that_does_not_read_is_cut_and_comes_back() {
    let server = Server::start(&["--cores", "0", "--outbox-bytes-max", "2MiB"]);
    run(async {
        let (client, mut events) = observed(&server).await;
        await_event(&mut events, &Event::Connected).await;
        let mut messages = client.subscribe("flood").await.expect("subscribes");
        subscribed(&client, &server, 1).await;
        // The only thread of the client floods itself through another connection and reads nothing.
        let (done, finished) = mpsc::channel();
        let address = server.nats.clone();
        let flood = std::thread::spawn(move || {
            let mut publisher = TcpStream::connect(address).expect("connects");
            let frame = [b"PUB flood 100000\r\n", &vec![b'f'; 100_000][..], b"\r\n"].concat();
            publisher.write_all(b"CONNECT {\"verbose\":false}\r\n").expect("writes");
            for _ in 0..400 {
                publisher.write_all(&frame).expect("a publisher is not hurt by a slow consumer");
            }
            let _ = done.send(());
        });
        finished.recv_timeout(PATIENCE).expect("the flood ends");
        flood.join().expect("it ended");
        await_event(&mut events, &Event::Disconnected).await;
        await_event(&mut events, &Event::Connected).await;
        client.publish("flood", "behind it".into()).await.expect("publishes");
        while next(&mut messages).await.payload != "behind it" {}
    });
    server.await_metric("ringbolt_connections_closed_total{reason=\"slow_consumer\"}", |count| count == 1.0);
}
