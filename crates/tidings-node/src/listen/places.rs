//! Places for HTTP connections. Guards hold the places.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio_util::sync::CancellationToken;

use super::slots::{Entry, SlotId, Slots};

/// Extra places for connections that only request a health check. A server that is full must not
/// look dead.
const PROBES: usize = 16;

/// The largest response in bytes that hyper buffers at once. A connection that still writes a
/// longer response is not idle.
const AT_ONCE: u64 = 64 * 1024;

struct State {
    slots: Slots,
    /// The token that ends each connection.
    ends: HashMap<SlotId, CancellationToken>,
}

/// All places of a server.
#[derive(Clone)]
pub(crate) struct Places(Arc<Mutex<State>>);

/// The reason why a new connection gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Its address already has as many connections as one address may have.
    AddressFull,
    /// The server already has as many connections as it may have.
    Full,
}

impl Places {
    pub(crate) fn new(max: usize, max_per_address: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            slots: Slots::new(max, max_per_address, PROBES),
            ends: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a new connection a place. An idle connection may have to end for it.
    pub(crate) fn enter(&self, ip: IpAddr, is_proxy: bool) -> Result<Place, NoPlace> {
        let mut state = self.lock();
        let (id, probes_only, victim) = match state.slots.enter(ip, is_proxy) {
            Entry::Admitted(id) => (id, false, None),
            Entry::InsteadOf(id, victim) => (id, false, Some(victim)),
            Entry::ProbesOnly(id) => (id, true, None),
            Entry::AddressFull => return Err(NoPlace::AddressFull),
            Entry::Full => return Err(NoPlace::Full),
        };
        let victim = victim.and_then(|victim| state.ends.remove(&victim));
        let end = CancellationToken::new();
        state.ends.insert(id, end.clone());
        drop(state);
        let makes_room = victim.is_some();
        if let Some(victim) = victim {
            victim.cancel();
        }
        Ok(Place(Arc::new(Inner {
            places: self.clone(),
            id,
            end,
            probes_only,
            makes_room,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        })))
    }
}

struct Inner {
    places: Places,
    id: SlotId,
    end: CancellationToken,
    probes_only: bool,
    makes_room: bool,
    /// The number of requests that have begun.
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.slots.leave(self.id);
        state.ends.remove(&self.id);
    }
}

/// The place of one connection. Clones share the place.
#[derive(Clone)]
pub(crate) struct Place(Arc<Inner>);

impl Place {
    /// Returns true if the connection may only request `/healthz` and `/readyz`.
    pub(crate) fn is_for_probes(&self) -> bool {
        self.0.probes_only
    }

    /// Returns true if another connection was ended for this one.
    pub(crate) fn makes_room(&self) -> bool {
        self.0.makes_room
    }

    /// Waits until the connection must end to make room for another.
    pub(crate) async fn ended(&self) {
        self.0.end.cancelled().await;
    }

    /// Waits until the connection has had no request for `limit`.
    pub(crate) async fn idle_for(&self, limit: Duration) {
        loop {
            let begun = self.0.begun.load(Ordering::Acquire);
            tokio::time::sleep(limit).await;
            let quiet = self.0.begun.load(Ordering::Acquire) == begun;
            if quiet && self.0.ended.load(Ordering::Acquire) == begun {
                return;
            }
        }
    }

    /// Records a request until the guard is dropped.
    pub(crate) fn begin(&self) -> Held {
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        self.0.places.lock().slots.begin(self.0.id);
        Held {
            place: self.clone(),
            elsewhere: false,
        }
    }
}

/// A response that may hold the place of its connection.
pub(crate) type Kept<E> = Response<UnsyncBoxBody<Bytes, E>>;

/// A request that is being answered.
pub(crate) struct Held {
    place: Place,
    /// True if the response is an event stream, which is counted as a client connection instead.
    elsewhere: bool,
}

impl Held {
    /// Keeps the request recorded until the response has been written completely.
    pub(crate) fn hold<E: 'static>(mut self, response: Kept<E>) -> Kept<E> {
        let kind = response.headers().get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind == "text/event-stream");
        if !is_stream
            && response
                .body()
                .size_hint()
                .upper()
                .is_some_and(|most| most <= AT_ONCE)
        {
            return response;
        }
        if is_stream {
            self.elsewhere = true;
            self.place.0.places.lock().slots.give_back(self.place.0.id);
        }
        response.map(|body| {
            let held = self;
            HeldBody { body, _held: held }.boxed_unsync()
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let inner = &self.place.0;
        let mut state = inner.places.lock();
        if self.elsewhere {
            state.slots.take_back(inner.id);
        }
        state.slots.end(inner.id);
        drop(state);
        inner.ended.fetch_add(1, Ordering::AcqRel);
    }
}

struct HeldBody<E> {
    body: UnsyncBoxBody<Bytes, E>,
    _held: Held,
}

impl<E> HttpBody for HeldBody<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
