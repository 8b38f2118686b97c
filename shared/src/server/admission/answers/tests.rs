use std::collections::VecDeque;

use super::*;
use crate::server::admission::{
    streams::{StreamKey, Streams},
    tests::identity,
};

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_mins(1);

fn answers(answer_bytes: u64) -> Answers {
    let limits = Limits { answer_bytes, answer_time: SOON, stream_time: SOON, ..Limits::default() };
    Answers::new(&limits)
}

/// Each practice has a product of its own, so that they are in no group together.
fn tenant(practice: &str) -> Tenant {
    Tenant::of(&identity(practice, &practice.replace('p', "product")))
}

fn reader(practice: &str) -> Reader {
    Reader { tenant: tenant(practice), deadline: StreamDeadline::default() }
}

/// A body of frames, and how many of them were asked for.
struct Frames {
    frames: VecDeque<Bytes>,
    given: Arc<AtomicU64>,
}

impl Frames {
    fn body(sizes: &[usize]) -> (Body, Arc<AtomicU64>) {
        let given = Arc::<AtomicU64>::default();
        let frames = sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect();
        (Body::new(Self { frames, given: Arc::clone(&given) }), given)
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.given.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(match self.frames.pop_front() {
            Some(bytes) => Frame::data(bytes),
            None => Frame::trailers(HeaderMap::new()),
        })))
    }
}

async fn next(body: &mut Body) -> Frame<Bytes> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context));
    tokio::time::timeout(LONG, frame).await.unwrap().unwrap().unwrap()
}

async fn part(body: &mut Body) -> Bytes {
    next(body).await.into_data().unwrap()
}

fn place(practice: &str) -> Arc<StreamPlace> {
    let streams = Arc::new(Streams::new(&Limits::default()));
    let key = StreamKey::Product("books".parse().unwrap(), Some(practice.parse().unwrap()));
    Arc::new(streams.open(key).unwrap())
}

async fn until(happened: impl Fn() -> bool) {
    let wait = async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LONG, wait).await.expect("it does not happen");
}

#[tokio::test]
async fn an_answer_comes_in_parts_and_counts_until_the_last_is_sent() {
    let answers = answers(1_024 * 1_024);
    for size in [1, PART, PART + 1, 10 * PART] {
        let (body, _) = Frames::body(&[size]);
        let mut body = answers.of_call(reader("p1"), body).await;
        let counted = answers.bytes();
        assert!(counted >= u64::try_from(size).unwrap(), "{counted} of {size}");
        let (mut parts, mut read) = (Vec::new(), 0);
        while read < size {
            let part = part(&mut body).await;
            assert!(part.len() <= PART);
            read += part.len();
            parts.push(part);
        }
        assert!(next(&mut body).await.is_trailers());
        drop(body);
        assert!(answers.bytes() >= u64::try_from(size).unwrap(), "the transport has it");
        drop(parts);
        assert_eq!(answers.bytes(), 0);
    }
}

#[tokio::test]
async fn an_answer_waits_for_room_and_leaves_some_to_others() {
    let answers = Arc::new(answers(1_000_000));
    let call = async |practice: &'static str| {
        let (body, _) = Frames::body(&[400_000]);
        answers.of_call(reader(practice), body).await
    };
    let first = call("p1").await;
    let waits = {
        let answers = Arc::clone(&answers);
        let (body, _) = Frames::body(&[400_000]);
        tokio::spawn(async move { answers.of_call(reader("p1"), body).await })
    };
    let _other = call("p2").await;
    assert!(!waits.is_finished());
    drop(first);
    tokio::time::timeout(LONG, waits).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_not_read_in_time_is_dropped_and_the_caller_finds_out() {
    let answers = Arc::new(answers(10_000_000));
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (answers, stop) = (Arc::clone(&answers), stop.clone());
        async move { answers.watch(&stop).await }
    });
    let (body, _) = Frames::body(&[3_000_000]);
    let readers = [reader("p1"), reader("p1")];
    let mut unread = answers.of_call(readers[0].clone(), body).await;
    let (body, _) = Frames::body(&[1_000_000, 1_000_000]);
    let mut stream = answers.of_stream(readers[1].clone(), body, place("p1"));
    let held = [part(&mut unread).await, part(&mut stream).await];
    assert!(answers.bytes() > 4_000_000);
    // Only what the transport holds remains.
    until(|| answers.bytes() <= 2 * 16 * 1_024).await;
    // For those that do not read on.
    until(|| readers.iter().all(|reader| reader.deadline.at().is_some())).await;
    drop(held);
    for body in [&mut unread, &mut stream] {
        let trailers = next(body).await.into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        let end = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        assert!(end.is_none());
    }
    assert_eq!(answers.bytes(), 0);
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn whoever_reads_has_all_the_time() {
    let answers = answers(10_000_000);
    let (body, _) = Frames::body(&[20 * PART]);
    let mut body = answers.of_call(reader("p1"), body).await;
    let mut now = Instant::now();
    let mut read = 0;
    while read < 20 * PART {
        // As much as is due in that time, and later.
        for _ in 0..4 {
            read += part(&mut body).await.len();
        }
        now += SOON;
        answers.look(now);
    }
    assert!(next(&mut body).await.is_trailers());
}

#[tokio::test]
async fn a_stream_makes_nothing_while_its_tenant_has_no_room() {
    let answers = answers(400_000);
    let (body, given) = Frames::body(&[150_000, 100_000]);
    let mut first = answers.of_stream(reader("p1"), body, place("p1"));
    let held = part(&mut first).await;
    let (body, given_second) = Frames::body(&[100_000]);
    let mut second = answers.of_stream(reader("p1"), body, place("p1"));
    let held_second = part(&mut second).await;
    // It has its share now: what waits is for the first one to finish.
    let (body, given_third) = Frames::body(&[100_000]);
    let mut third = answers.of_stream(reader("p1"), body, place("p1"));
    let mut waits = tokio::spawn(async move { part(&mut third).await.len() });
    tokio::task::yield_now().await;
    let counts = [&given, &given_second, &given_third].map(|given| given.load(Ordering::SeqCst));
    assert_eq!(counts, [1, 1, 0]);
    let (body, _) = Frames::body(&[10]);
    let mut of_other = answers.of_stream(reader("p2"), body, place("p2"));
    assert_eq!(part(&mut of_other).await.len(), 10);
    drop((held, first));
    assert_eq!(tokio::time::timeout(LONG, &mut waits).await.unwrap().unwrap(), PART);
    drop(held_second);
}
