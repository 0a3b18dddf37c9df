//! One page's stream of server-sent events.

use super::{Feed, News};
use crate::ops::Phase;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use futures_util::stream::unfold;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

/// Everything first, then what is new. A page that falls behind is told everything again.
struct Stream {
    feed: Feed,
    news: broadcast::Receiver<News>,
    begun: bool,
    /// Given back when the connection ends.
    _seat: OwnedSemaphorePermit,
}

impl Feed {
    /// The answer to `GET /events`; it ends when the worker leaves.
    pub fn stream(&self) -> Response {
        let Ok(seat) = Arc::clone(&self.0.seats).try_acquire_owned() else {
            let full = (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "5")], "too many pages are open\n");
            return full.into_response();
        };
        // First of all, so that nothing falls between everything and what is new.
        let news = self.0.news.subscribe();
        self.0.joined.notify_one();
        self.0.joined_letters.notify_one();
        let stream = Stream { feed: self.clone(), news, begun: false, _seat: seat };
        let shutdown = self.0.shutdown.clone();
        let events = unfold(stream, |mut stream| async move {
            let event = stream.next().await?;
            Some((Ok::<_, Infallible>(event), stream))
        });
        Sse::new(events.take_until(async move { shutdown.reached(Phase::Leaving).await })).into_response()
    }
}

impl Stream {
    async fn next(&mut self) -> Option<Event> {
        if !self.begun {
            self.begun = true;
            return Some(self.whole());
        }
        match self.news.recv().await {
            Ok((name, data)) => Some(Event::default().event(name).data(&*data)),
            Err(RecvError::Lagged(_)) => Some(self.whole()),
            Err(RecvError::Closed) => None,
        }
    }

    fn whole(&self) -> Event {
        // JSON escapes line ends, so it is one line of data.
        Event::default().event("whole").data(self.feed.0.whole().to_string())
    }
}
