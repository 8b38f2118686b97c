use std::collections::VecDeque;

use super::*;
use crate::admission::{
    streams::{StreamKey, Streams},
    tests::identity,
};

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_mins(1);

fn buffers(answer_bytes: u64) -> ResponseBuffers {
    let limits = Limits { answer_bytes, answer_time: SOON, stream_time: SOON, ..Limits::default() };
    ResponseBuffers::new(&limits)
}

/// The tenants of two practices have different products, and so no group in common.
fn tenant(practice: &str) -> Tenant {
    Tenant::of(&identity(practice, &practice.replace('p', "product")))
}

fn reader(practice: &str) -> Reader {
    Reader { tenant: tenant(practice), deadline: StreamDeadline::default() }
}

/// A body of frames, with the number of frames that were polled.
struct Frames {
    frames: VecDeque<Bytes>,
    polled: Arc<AtomicU64>,
}

impl Frames {
    fn body(sizes: &[usize]) -> (Body, Arc<AtomicU64>) {
        let polled = Arc::<AtomicU64>::default();
        let frames = sizes.iter().map(|size| Bytes::from(vec![7; *size])).collect();
        (Body::new(Self { frames, polled: Arc::clone(&polled) }), polled)
    }
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.polled.fetch_add(1, Ordering::SeqCst);
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

async fn chunk(body: &mut Body) -> Bytes {
    next(body).await.into_data().unwrap()
}

fn permit(practice: &str) -> Arc<StreamPermit> {
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
async fn response_is_chunked_and_counts_until_sent() {
    let buffers = buffers(1_024 * 1_024);
    for size in [1, CHUNK, CHUNK + 1, 10 * CHUNK] {
        let (body, _) = Frames::body(&[size]);
        let mut body = buffers.buffer_unary(reader("p1"), body).await;
        let counted = buffers.bytes();
        assert!(counted >= u64::try_from(size).unwrap(), "{counted} of {size}");
        let (mut chunks, mut read) = (Vec::new(), 0);
        while read < size {
            let chunk = chunk(&mut body).await;
            assert!(chunk.len() <= CHUNK);
            read += chunk.len();
            chunks.push(chunk);
        }
        assert!(next(&mut body).await.is_trailers());
        drop(body);
        assert!(buffers.bytes() >= u64::try_from(size).unwrap(), "the transport holds it");
        drop(chunks);
        assert_eq!(buffers.bytes(), 0);
    }
}

#[tokio::test]
async fn response_waits_for_room_and_leaves_some_to_others() {
    let buffers = Arc::new(buffers(1_000_000));
    let call = async |practice: &'static str| {
        let (body, _) = Frames::body(&[400_000]);
        buffers.buffer_unary(reader(practice), body).await
    };
    let first = call("p1").await;
    let waiting = {
        let buffers = Arc::clone(&buffers);
        let (body, _) = Frames::body(&[400_000]);
        tokio::spawn(async move { buffers.buffer_unary(reader("p1"), body).await })
    };
    let _other = call("p2").await;
    assert!(!waiting.is_finished());
    drop(first);
    tokio::time::timeout(LONG, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn unread_response_is_dropped_and_ends_with_status() {
    let buffers = Arc::new(buffers(10_000_000));
    let stop = CancellationToken::new();
    let watching = tokio::spawn({
        let (buffers, stop) = (Arc::clone(&buffers), stop.clone());
        async move { buffers.watch(&stop).await }
    });
    let (body, _) = Frames::body(&[3_000_000]);
    let readers = [reader("p1"), reader("p1")];
    let mut unread = buffers.buffer_unary(readers[0].clone(), body).await;
    let (body, _) = Frames::body(&[1_000_000, 1_000_000]);
    let mut stream = buffers.buffer_stream(readers[1].clone(), body, permit("p1"));
    let held = [chunk(&mut unread).await, chunk(&mut stream).await];
    assert!(buffers.bytes() > 4_000_000);
    // Only the chunks in the transport remain.
    until(|| buffers.bytes() <= 2 * 16 * 1_024).await;
    // The streams are reset unless their callers continue to read.
    until(|| readers.iter().all(|reader| reader.deadline.at().is_some())).await;
    drop(held);
    for body in [&mut unread, &mut stream] {
        let trailers = next(body).await.into_trailers().unwrap();
        let status = Status::from_header_map(&trailers).unwrap();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        let end = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        assert!(end.is_none());
    }
    assert_eq!(buffers.bytes(), 0);
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn slow_reader_with_progress_is_not_dropped() {
    let buffers = buffers(10_000_000);
    let (body, _) = Frames::body(&[20 * CHUNK]);
    let mut body = buffers.buffer_unary(reader("p1"), body).await;
    let mut now = Instant::now();
    let mut read = 0;
    while read < 20 * CHUNK {
        // The minimum progress within the timeout.
        for _ in 0..4 {
            read += chunk(&mut body).await.len();
        }
        now += SOON;
        buffers.drop_late(now);
    }
    assert!(next(&mut body).await.is_trailers());
}

#[tokio::test]
async fn stream_is_not_polled_while_tenant_has_no_room() {
    let buffers = buffers(400_000);
    let (body, polled) = Frames::body(&[150_000, 100_000]);
    let mut first = buffers.buffer_stream(reader("p1"), body, permit("p1"));
    let held = chunk(&mut first).await;
    let (body, polled_second) = Frames::body(&[100_000]);
    let mut second = buffers.buffer_stream(reader("p1"), body, permit("p1"));
    let held_second = chunk(&mut second).await;
    // The tenant has used up its share: the third stream waits for the first one.
    let (body, polled_third) = Frames::body(&[100_000]);
    let mut third = buffers.buffer_stream(reader("p1"), body, permit("p1"));
    let mut waiting = tokio::spawn(async move { chunk(&mut third).await.len() });
    tokio::task::yield_now().await;
    let counts =
        [&polled, &polled_second, &polled_third].map(|polled| polled.load(Ordering::SeqCst));
    assert_eq!(counts, [1, 1, 0]);
    let (body, _) = Frames::body(&[10]);
    let mut of_other = buffers.buffer_stream(reader("p2"), body, permit("p2"));
    assert_eq!(chunk(&mut of_other).await.len(), 10);
    drop((held, first));
    assert_eq!(tokio::time::timeout(LONG, &mut waiting).await.unwrap().unwrap(), CHUNK);
    drop(held_second);
}
